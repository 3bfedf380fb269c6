#!/usr/bin/env bash
# Open QGIS with this plugin and the sample image, and nothing of the user's own profile.
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/environment.sh
unset QGIS_CUSTOM_CONFIG_PATH
mkdir -p build/profiles
exec qgis --profiles-path "$root/build/profiles" --nologo --code tools/open_plugin.py resources/sample/tree_crowns.tif

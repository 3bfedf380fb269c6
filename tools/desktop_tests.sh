#!/usr/bin/env bash
# Run tests/desktop inside the real QGIS, on a virtual screen. Pictures go to the folder $DLPK_PICTURES.
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/environment.sh
unset QGIS_CUSTOM_CONFIG_PATH QT_QPA_PLATFORM
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export DLPK_CACHE=$work/cache DLPK_DESKTOP_STATUS=$work/status DLPK_DESKTOP_TESTS=$root/tests/desktop
export DLPK_PICTURES=${DLPK_PICTURES:-$root/build/pictures} DLPK_DESKTOP_ARGUMENTS="${*@Q}"
export HOME=$work XDG_RUNTIME_DIR=$work
export PYTHONMALLOC=debug # what QGIS still uses of an object that Python has let go of crashes at once, and not some day
mkdir -p "$work/profiles/profiles/default/QGIS"
if [ -n "${DLPK_THEME:-}" ]; then
  printf '[UI]\nUITheme=%s\n' "$DLPK_THEME" >"$work/profiles/profiles/default/QGIS/QGIS3.ini"
fi
timeout "${DLPK_DESKTOP_SECONDS:-420}" xvfb-run -a -s "-screen 0 2600x2000x24" \
  qgis --profiles-path "$work/profiles" --nologo --noversioncheck --code tests/desktop/inside.py || true
[ "$(cat "$work/status" 2>/dev/null)" = 0 ]

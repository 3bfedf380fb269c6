#!/usr/bin/env bash
# Make the pictures of the manual: the tests inside QGIS leave them, in light and dark, at single and double scale.
# All of them go to build/pictures, to be looked at; a few, made small, to docs/images.
set -euo pipefail
cd "$(dirname "$0")/.."
for theme in light dark; do
  for scale in 1 2; do
    echo "==> $theme, $scale×"
    DLPK_PICTURES=$PWD/build/pictures/$theme-$scale QT_SCALE_FACTOR=$scale \
      DLPK_THEME=$([ "$theme" = dark ] && echo "Night Mapping" || true) bash tools/desktop_tests.sh | tail -n 1
  done
done
source tools/environment.sh
export QT_QPA_PLATFORM=offscreen
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
qgis_process plugins enable deep_learning_packages >/dev/null 2>&1 || true
cp resources/sample/tree_crowns.* "$work"
(cd "$work" && qgis_process run dlpk:detectobjects --INPUT=tree_crowns.tif --MODEL=tree_crowns.dlpk --NMS=true --MAX_OVERLAP=0.3 \
  --OUTPUT=tree_crowns.gpkg --REPORT=report.html >/dev/null)
sed -i "s#$work/##g" "$work/report.html" # no paths of this machine in the picture
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
if [ -n "$browser" ]; then
  "$browser" --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$work/browser" --window-size=1000,2300 \
    --screenshot="$PWD/build/pictures/report.png" "file://$work/report.html" >/dev/null 2>&1
else
  echo "No Chromium was found, so the picture of the report stays as it is."
fi
/usr/bin/python3 tools/shrink_pictures.py build/pictures docs/images

#!/usr/bin/env bash
# Run the sample packages on the sample images through qgis_process, and draw what they find.
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/environment.sh
export QT_QPA_PLATFORM=offscreen
mkdir -p demo
# Enabling a plugin that is enabled already is an error for qgis_process; whether it loads shows in the run.
qgis_process plugins enable deep_learning_packages >/dev/null 2>&1 || true
samples=resources/sample

# run NAME ALGORITHM PARAMETERS...: writes demo/NAME.gpkg and its report, and tells how long it took
run() {
  local name=$1 algorithm=$2 began seconds
  shift 2
  began=$(date +%s.%N)
  qgis_process run "dlpk:$algorithm" "$@" --OUTPUT="$root/demo/$name.gpkg" --REPORT="$root/demo/$name.html" | tee demo/log.txt
  seconds=$(echo "$(date +%s.%N) $began" | awk '{printf "%.1f", $1 - $2}')
  device=$(sed -n 's/^Device: \([^,]*\),.*/\1/p' demo/log.txt)
  told+=("on $device in $seconds s: demo/$name.gpkg, demo/$name.html")
}

told=()
run tree_crowns detectobjects --INPUT=$samples/tree_crowns.tif --MODEL=$samples/tree_crowns.dlpk --NMS=true --MAX_OVERLAP=0.3
run town_trees detectobjects --INPUT=$samples/town.tif --MODEL=$samples/urban_trees.dlpk
run checked_trees classifyobjects --INPUT=$samples/town.tif --MODEL=$samples/tree_check.dlpk \
  --FEATURES="$root/demo/town_trees.gpkg"
run checked_places classifyobjects --INPUT=$samples/town.tif --MODEL=$samples/tree_check.dlpk \
  --FEATURES=$samples/town_points.gpkg

crowns=$(/usr/bin/python3 tools/render_demo.py $samples/tree_crowns.tif demo/tree_crowns.gpkg demo/tree_crowns.png)
trees=$(/usr/bin/python3 tools/render_demo.py $samples/town.tif demo/town_trees.gpkg demo/town_trees.png)
checked=$(/usr/bin/python3 tools/render_demo.py $samples/town.tif demo/checked_trees.gpkg demo/checked_trees.png)
places=$(/usr/bin/python3 tools/render_demo.py $samples/town.tif demo/checked_places.gpkg demo/checked_places.png)
echo
echo "$crowns tree crowns found ${told[0]}, drawn in demo/tree_crowns.png"
echo "$trees trees of a town found as points ${told[1]}, drawn in demo/town_trees.png"
echo "$checked of these points classified as tree or no tree ${told[2]}, drawn in demo/checked_trees.png"
echo "$places places with and without a tree classified ${told[3]}, drawn in demo/checked_places.png"

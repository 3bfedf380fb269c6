#!/usr/bin/env bash
# Set up what `make demo`, `make run` and `make test` need: QGIS >= 3.40, bubblewrap, and a .venv beside
# QGIS's own Python with torch and shapely 2. Says what it will install first; does nothing where nothing is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

wanted_qgis=3.40
with_development=${1:-}
mark() { printf '\n==> %s\n' "$*"; }
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; return; fi
  command -v sudo >/dev/null || { echo "This needs root, and there is no sudo. As root, run: tools/setup.sh ${with_development}"; exit 1; }
  sudo "$@"
}
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }
qgis_version() {
  /usr/bin/python3 -c 'from qgis.core import Qgis; print(Qgis.version().split("-")[0])' 2>/dev/null || echo 0
}
candidate() { apt-cache policy "$1" | awk '/Candidate:/ {print $2}' | sed 's/^[0-9]*://'; }
offered() { # the oldest version that apt-get offers of those packages of QGIS that are missing
  for package in "${packages[@]}"; do
    case $package in qgis | qgis-server) candidate "$package" ;; esac
  done | sort -V | head -n 1
}

packages=()
at_least "$(qgis_version)" "$wanted_qgis" && command -v qgis_process >/dev/null || packages+=(qgis python3-qgis)
command -v bwrap >/dev/null || packages+=(bubblewrap)
/usr/bin/python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3-venv)
if [ "$with_development" = development ]; then
  command -v 7zz >/dev/null || command -v 7z >/dev/null || packages+=(7zip)
  command -v bsdtar >/dev/null || packages+=(libarchive-tools)
  command -v xvfb-run >/dev/null || packages+=(xvfb xauth)
  # QGIS Server for the tests of services.
  command -v qgis_mapserver >/dev/null || packages+=(qgis-server)
  # PostGIS for the tests of outputs in databases; its package is named by the version of PostgreSQL.
  ls /usr/share/postgresql/*/extension/postgis.control >/dev/null 2>&1 || packages+=(postgresql postgis)
  command -v npm >/dev/null || packages+=(nodejs npm)
fi

if [ ${#packages[@]} -gt 0 ]; then
  if ! command -v apt-get >/dev/null; then
    echo "Missing here: ${packages[*]}. This system has no apt-get, so please install these yourself:"
    echo "  QGIS >= $wanted_qgis with its Python bindings, bubblewrap, and Python's venv module."
    echo "Then run the same make command again."
    exit 1
  fi
  mark "About to install with apt-get (needs root): ${packages[*]}"
  as_root apt-get update -qq
  postgis=$(apt-cache depends postgresql | grep -om 1 'postgresql-[0-9]*' || true)-postgis-3
  packages=("${packages[@]/#postgis/$postgis}")
  release=()
  if [[ " ${packages[*]} " =~ " qgis "|" qgis-server " ]] && ! at_least "$(offered)" "$wanted_qgis"; then
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    if [ "$(. /etc/os-release && echo "$ID")" != debian ] || [ "$codename" != bookworm ]; then
      echo "The newest QGIS that apt-get offers here is $(offered), and $wanted_qgis or later is needed."
      echo "Please add QGIS's own package repository (see 'Linux' on the download page of qgis.org), then run the same make command again."
      exit 1
    fi
    mark "Adding the Debian suite bookworm-backports, which has QGIS $wanted_qgis"
    echo 'deb http://deb.debian.org/debian bookworm-backports main' \
      | as_root tee /etc/apt/sources.list.d/bookworm-backports.list >/dev/null
    as_root apt-get update -qq
    release=(-t bookworm-backports)
  fi
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${release[@]}" "${packages[@]}" >build-setup.log 2>&1 \
    || { tail -n 20 build-setup.log; exit 1; }
  rm -f build-setup.log
fi

if [ ! -x .venv/bin/python ]; then
  mark "Creating .venv from /usr/bin/python3, the Python that QGIS uses"
  /usr/bin/python3 -m venv --system-site-packages .venv
fi
has() { .venv/bin/python -c "$1" 2>/dev/null; }
# QGIS's GDAL is compiled against QGIS's numpy: another numpy in .venv would break it.
numpy=numpy==$(/usr/bin/python3 -c 'import numpy; print(numpy.__version__)')
requirements=()
has 'import torch' || requirements+=(torch==2.13.0)
# shapely 2.0 is built for GEOS 3.11, the oldest that a QGIS of ours brings; inside QGIS it uses QGIS's own GEOS,
# so a shapely that was built for a newer GEOS would call functions that are not there.
has 'import shapely; assert int(shapely.__version__.split(".")[0]) >= 2' || requirements+=('shapely==2.0.*')
if [ ${#requirements[@]} -gt 0 ]; then
  mark "Installing into .venv: ${requirements[*]} (torch is large; QGIS's own Python stays as it is)"
  .venv/bin/python -m pip install -q --disable-pip-version-check "${requirements[@]}" "$numpy"
fi
if [ "$with_development" = development ] && ! cmp -s tools/requirements-development.txt .venv/development.txt; then
  mark "Installing into .venv: what tests and lint need (tools/requirements-development.txt)"
  .venv/bin/python -m pip install -q --disable-pip-version-check -r tools/requirements-development.txt "$numpy"
  cp tools/requirements-development.txt .venv/development.txt
fi

mkdir -p build/plugins
ln -sfn ../.. build/plugins/deep_learning_packages

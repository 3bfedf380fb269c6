# Sourced by the other scripts: QGIS with this plugin, a profile of its own, and the libraries of .venv.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin # a foreign Python first on PATH can crash qgis_process
export PYTHONPATH="$root/.venv/lib/python$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')/site-packages"
export DLPK_PYTHON="$root/.venv/bin/python"
export QGIS_PLUGINPATH="$root/build/plugins"
export QGIS_CUSTOM_CONFIG_PATH="$root/build/profile"
export LC_ALL=C.UTF-8
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-$root/build/runtime}
mkdir -p "$root/build/profile" && mkdir -p -m 700 "$XDG_RUNTIME_DIR"
unset PYTHONHOME

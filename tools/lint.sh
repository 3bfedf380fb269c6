#!/usr/bin/env bash
# All static checks; stops at the first that fails.
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv/bin/python

$python -m ruff check .
$python -m ruff format --check .
# The plugin is checked under the name it has in QGIS, through the link that setup makes.
(cd build/plugins && MYPYPATH=. ../../$python -m mypy --config-file deep_learning_packages/pyproject.toml \
  -p deep_learning_packages.inference -p deep_learning_packages.worker)
(cd build/plugins && PYTHONPATH=. ../../.venv/bin/lint-imports --config deep_learning_packages/pyproject.toml)
$python -m flake8 --select QGS1,QGS4 --exclude .venv,build .
# detect-secrets always exits with 0: its report has to be read.
.venv/bin/detect-secrets scan $(git ls-files | grep -vE '\.(dlpk|tif|png|svg)$') \
  | $python -c 'import json, sys; found = json.load(sys.stdin)["results"]; print(json.dumps(found, indent=1)) if found else None; sys.exit(bool(found))'
echo "Lint: no findings"

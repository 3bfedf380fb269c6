"""Entry of the inference process: `python <this folder>`.

The folder is imported as a package of a name that no raster function uses, and leaves no trace on
sys.path: a package's own `protocol.py` or `loader.py` must not meet ours.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys

NAME = "deep_learning_packages_worker"


def main() -> int:
    """Import this folder as a package and serve until the host closes the pipe."""
    folder = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != folder]
    spec = importlib.util.spec_from_file_location(NAME, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder])
    if spec is None or spec.loader is None:
        raise ImportError(f"{folder} is no package")
    package = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = package
    spec.loader.exec_module(package)
    status: int = importlib.import_module(f"{NAME}.server").serve()
    return status


if __name__ == "__main__":
    sys.exit(main())

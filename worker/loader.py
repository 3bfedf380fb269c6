"""Loads a raster function: the module by the stem of its file, the class by the module's name (CONTRACT 3.0)."""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
from typing import Any

from . import native, wrappers
from .native import families


class LoadError(Exception):
    """The file does not hold a raster function that can be found."""


def create_function(function: str, definition: str, is_contained: bool) -> Any:  # noqa: ANN401 - the package's own class
    """Create the raster function of a package.

    Args:
        function: Path of the package's .py, the name of a built-in wrapper (wrappers.BUILT_IN), or that of a family
            of networks (native) behind its prefix: then nothing of the package can be imported.
        definition: Absolute path of the .emd; its folder becomes the working folder, as functions
            resolve ModelFile against it.
        is_contained: Whether a sandbox is around this process, or the user trusts the package.

    Raises:
        LoadError: No class, or several, could be the raster function.
    """
    if network := families.network_of(function):
        return native.create(network, is_contained)
    definition_folder = os.path.dirname(definition)
    os.chdir(definition_folder)
    if function in wrappers.BUILT_IN:
        sys.path.insert(0, definition_folder)
        return wrappers.BUILT_IN[function]()
    folder = os.path.dirname(function)
    sys.path[:0] = list(dict.fromkeys([folder, definition_folder]))
    return _function_class(_import_file(function))()


def _import_file(path: str) -> Any:  # noqa: ANN401 - a module
    stem = os.path.splitext(os.path.basename(path))[0]
    spec = importlib.util.spec_from_file_location(stem, path)
    if spec is None or spec.loader is None:
        raise LoadError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[stem] = module
    spec.loader.exec_module(module)
    return module


def _function_class(module: Any) -> Any:  # noqa: ANN401 - a class of the package
    stem = module.__name__
    named = getattr(module, stem, None)
    if inspect.isclass(named):
        return named
    candidates = {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == stem and hasattr(value, "getParameterInfo")
    }
    if len(candidates) == 1:
        return next(iter(candidates.values()))
    found = f"several could be meant: {', '.join(sorted(candidates))}" if candidates else "there is no other either"
    raise LoadError(f"{stem}.py has no class named {stem}, and {found} (a raster function has getParameterInfo)")

"""Which Python libraries a package imports, found by reading its source; none of it runs."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..worker.native.families import NEEDS_TORCHVISION
from .arcgis_trained import native_network
from .package import Package

MAXIMUM_FILES = 2000
LONGEST_NAME = 200
MAXIMUM_BYTES = 4 << 20
"""A source file that is larger holds data, not imports."""
STOOD_IN = frozenset(["arcpy", "attribute_table", "features", "fields", "prf_utils"])
"""Modules that the worker provides where a package does not (worker/shims)."""
DISTRIBUTIONS = {
    "cv2": "opencv-python-headless", "PIL": "pillow", "skimage": "scikit-image", "sklearn": "scikit-learn",
    "yaml": "pyyaml", "osgeo": "gdal", "mmcv": "mmcv", "GPUtil": "gputil", "ensemble_boxes": "ensemble-boxes",
    "segment_anything": "segment-anything", "groundingdino": "groundingdino-py",
}  # fmt: skip
"""What pip calls a library, where that differs from what Python imports."""


@dataclass(frozen=True)
class Requirement:
    """A library that a package imports.

    Attributes:
        module: As Python imports it.
        is_optional: Whether the package goes on without it: every import of it is inside `try`.
    """

    module: str
    is_optional: bool

    @property
    def distribution(self) -> str:
        """As pip installs it."""
        return DISTRIBUTIONS.get(self.module, self.module)


@dataclass(frozen=True)
class Requirements:
    """What a package imports, and the source files that could not be read for it (with the reason)."""

    libraries: tuple[Requirement, ...]
    unread: tuple[str, ...]


def requirements_of(package: Package) -> Requirements:
    """Follow the imports from the raster function through the package's own modules.

    The standard library, what the package brings and what the worker stands in for are left out. A network of the
    plugin needs torch, and some torchvision, whatever the package imports.
    """
    if network := native_network(package):
        names = ["torch", *(["torchvision"] if network in NEEDS_TORCHVISION else [])]
        return Requirements(tuple(Requirement(name, False) for name in names), ())
    return _Scan(package).run()


class _Scan:
    """One walk over the sources of a package."""

    def __init__(self, package: Package) -> None:
        self._package, self._folder = package, package.folder.resolve()
        self._roots = list(dict.fromkeys([Path(package.function).parent, package.definition.path.parent]))
        self._found: dict[str, bool] = {}
        self._seen: set[Path] = set()
        self._unread: list[str] = []

    def run(self) -> Requirements:
        waiting = list(self._entries())
        while waiting and len(self._seen) < MAXIMUM_FILES:
            path = waiting.pop()
            if path not in self._seen:
                self._seen.add(path)
                waiting += self._follow(path)
        known = sorted(name for name in self._found if name not in STOOD_IN and not _is_standard(name))
        return Requirements(tuple(Requirement(name, self._found[name]) for name in known), tuple(self._unread))

    def _entries(self) -> Iterator[Path]:
        """The raster function, and the module that a built-in function or a thin wrapper loads by its name."""
        if self._package.function.endswith(".py"):
            yield Path(self._package.function).resolve()
        definition = self._package.definition
        configuration = definition.values.get("ModelConfiguration")
        name = configuration.get("Name") if isinstance(configuration, dict) else configuration
        if not isinstance(name, str) or not name:
            return
        framework = definition.framework
        local = [found for each in (f"{framework}.{name}", name) if (found := self._local(each)) is not None]
        yield from local
        top = framework.split(".")[0]
        if not local and "." in framework and top.isidentifier():
            self._found.setdefault(top, False)

    def _follow(self, path: Path) -> list[Path]:
        try:
            if path.stat().st_size > MAXIMUM_BYTES:
                return []
            tree = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
            self._unread.append(f"{self._shown(path)}: {error}")
            return []
        local: list[Path] = []
        for name, level, guarded in _imports(tree):
            if level:
                base = path.parents[min(level, len(path.parents)) - 1]
                found = self._local(name, base)
            else:
                found = self._local(name)
                if found is None:
                    top = name.split(".")[0]
                    self._found[top] = self._found.get(top, True) and guarded
            if found is not None:
                local.append(found)
        return local

    def _shown(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix() if path.is_relative_to(self._folder) else path.name

    def _local(self, name: str, base: Path | None = None) -> Path | None:
        """The package's own file behind a module's name: the longest part of the name that is one."""
        parts = name.strip(".").split(".")
        if not all(part.isidentifier() and len(part) <= LONGEST_NAME for part in parts):
            return None
        for root in [base] if base is not None else self._roots:
            for length in range(len(parts), 0, -1):
                stem = root.joinpath(*parts[:length])
                for candidate in (stem.with_name(f"{stem.name}.py"), stem / "__init__.py"):
                    if candidate.is_file() and candidate.resolve().is_relative_to(self._folder):
                        return candidate.resolve()
        return None


def _imports(tree: ast.AST) -> Iterator[tuple[str, int, bool]]:
    """Each imported module: its name, how relative it is, and whether a `try` guards the import."""
    waiting: list[tuple[ast.AST, bool]] = [(tree, False)]
    while waiting:
        node, guarded = waiting.pop()
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0, guarded) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            prefix = f"{node.module}." if node.module else ""  # what is imported from it may be a module too
            yield from ((prefix + alias.name, node.level, guarded) for alias in node.names)
        body = set(map(id, node.body)) if isinstance(node, ast.Try) else set()
        waiting += [(child, guarded or id(child) in body) for child in ast.iter_child_nodes(node)]


def _is_standard(name: str) -> bool:
    names: frozenset[str] = getattr(sys, "stdlib_module_names", frozenset(sys.builtin_module_names))
    return name in names or name == "__future__"

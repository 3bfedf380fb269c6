"""Reads packages: a .dlpk archive, a folder, or a bare .emd (CONTRACT 1 and 2)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..worker.native import families
from ..worker.native.families import Trained
from . import archive
from .archive_readers import is_archive
from .cache import cache_folder
from .definition import LONGEST_NAME, ModelDefinition, make_readable, read_definition
from .digests import digest_of, recall
from .errors import PackageError, printable
from .purpose import CLASSIFIERS
from .translation import tr


@dataclass(frozen=True)
class Package:
    """A package that is ready to run.

    Attributes:
        source: What the user gave.
        sha256: Hash of the content, hexadecimal.
        identity: The same, or another hash where the package runs in another way than by its own function.
        folder: What the raster function may read: the package's root.
        definition: The model definition.
        function: Absolute path of the raster function's .py, or the name of a built-in wrapper or of a network of ours.
        trained: What it is where ArcGIS trained it; else it brings its own function.
        is_recalled: Whether the hash is one that was noted before; then nothing of the package may run by it.
        origin: The address that it was downloaded from, without credentials; empty for one that was a file already.
    """

    source: Path
    sha256: str
    identity: str
    folder: Path
    definition: ModelDefinition
    function: str
    trained: Trained | None = None
    is_recalled: bool = False
    origin: str = ""

    @property
    def shown(self) -> str:
        """Where it comes from, for users."""
        return self.origin or str(self.source)


def open_package(source: str | Path, check: Callable[[], None] = lambda: None, quick: bool = False) -> Package:
    """Open a package: find and read the model definition and its raster function. No code of it runs.

    Args:
        source: A .dlpk, an .emd (its folder is the package) or a folder.
        check: Called now and then, as packages of several gigabytes take a while; raises to stop.
        quick: Whether the hash may be the one that was noted when the package was read before; only to look at it.

    Raises:
        PackageError: It is not there, damaged or refused; or the model definition is missing, not the only
            one, not JSON, or names a raster function that is not there.
    """
    path = Path(source).expanduser().absolute()
    if not path.exists():
        raise PackageError(tr("{path} does not exist. Choose a .dlpk file, an .emd file or a folder.", path=path))
    if path.suffix.lower() == ".emd":
        _refuse_shared_folder(path)
    noted = recall(path.parent if path.suffix.lower() == ".emd" else path) if quick else None
    if path.is_dir():
        return _package(path, noted or digest_of(path, check), path, _find_definition(path, path.name), bool(noted))
    if path.suffix.lower() == ".emd":
        return _package(path, noted or digest_of(path.parent, check), path.parent, path, bool(noted))
    if is_archive(path):
        if noted and not _place(noted).exists():
            noted = None  # what is unpacked now must be named by what it holds
        digest = noted or digest_of(path, check)
        folder = _extracted(path, digest, check)
        return _package(path, digest, folder, _find_definition(folder, path.stem), bool(noted))
    raise PackageError(
        tr("{path} is no deep learning package: it is neither a zip nor a 7-Zip archive, nor an .emd file.", path=path)
    )


def _package(source: Path, digest: str, folder: Path, path: Path, is_recalled: bool = False) -> Package:
    definition = read_definition(path)
    _refuse_foreign_weights(definition, folder)
    trained = families.trained(definition.values, _brings_child(definition))
    function = _function(definition, folder, trained is not None)
    return Package(source, digest, digest, folder, definition, function, trained, is_recalled)


def _refuse_foreign_weights(definition: ModelDefinition, folder: Path) -> None:
    """The weights belong to the package, which is all that its function may read."""
    named = str(definition.values.get("ModelFile") or "").replace("\\", "/")
    if not named or "://" in named:
        return
    path = os.path.normpath(definition.path.parent / named)  # links are not followed: who reads the file meets the sandbox
    if not Path(path).is_relative_to(folder):
        raise PackageError(
            tr("{definition}: ModelFile names '{name}', which lies outside the package. Put that file into the package's folder "
               "and name it there.", definition=definition.path, name=printable(named)[:LONGEST_NAME])
        )  # fmt: skip


def _refuse_shared_folder(path: Path) -> None:
    """The folder of a bare .emd is the package: all of it is hashed, and shown to the raster function."""
    if path.parent in (Path.home(), Path(tempfile.gettempdir()), Path(path.anchor)):
        raise PackageError(tr("{path} lies among other things. Put it and its files into a folder of their own.", path=path))


def _place(digest: str) -> Path:
    return cache_folder() / "packages" / digest[:32]  # short, as Windows limits the length of paths


def _extracted(path: Path, digest: str, check: Callable[[], None]) -> Path:
    folder = _place(digest)

    def finish(unfinished: Path) -> None:
        for definition in unfinished.rglob("*"):
            if definition.suffix.lower() == ".emd" and definition.is_file():
                make_readable(definition)
        try:  # a malformed package leaves nothing
            _package(path, digest, unfinished, _find_definition(unfinished, path.stem))
        except PackageError as error:  # users know the archive, not our folder
            raise PackageError(str(error).replace(str(unfinished), str(path))) from error

    archive.extract(path, folder, finish, check)
    return folder


def _find_definition(folder: Path, stem: str) -> Path:
    """The .emd in the root, else the only one below, else the one named like the package (CONTRACT 1.3)."""
    files = (path for path in folder.rglob("*") if path.suffix.lower() == ".emd" and path.is_file())
    found = sorted(path for path in files if not path.name.startswith("._"))  # macOS adds such twins
    in_root = [path for path in found if path.parent == folder]
    candidates = in_root or found
    if len(candidates) > 1:
        candidates = [path for path in candidates if path.stem.lower() == stem.lower()]
    if len(candidates) == 1:
        return candidates[0]
    if not found:
        raise PackageError(tr("{folder} holds no model definition (.emd), so it is no deep learning package.", folder=stem))
    names = ", ".join(str(path.relative_to(folder)) for path in found)
    raise PackageError(
        tr("{folder} holds several model definitions: {names}. Unpack it and choose one of these files.",
           folder=stem, names=names)
    )  # fmt: skip


def _brings_child(definition: ModelDefinition) -> bool:
    """Whether the module that ModelConfiguration names lies beside the definition."""
    configuration = definition.values.get("ModelConfiguration")
    name = configuration.get("Name") if isinstance(configuration, dict) else configuration
    is_name = isinstance(name, str) and name.isidentifier() and len(name) <= LONGEST_NAME
    return is_name and Path(definition.path.parent, f"{name}.py").is_file()


def _function(definition: ModelDefinition, folder: Path, is_stock: bool) -> str:
    """Path of the raster function, or the built-in wrapper where the definition names none of its own.

    Wrappers that ArcGIS writes need not be there, as the built-in ones do the same.
    """
    named = definition.text("InferenceFunction").strip()
    is_token = named.lower().startswith(families.TOKEN)
    if named and not is_token and not (is_stock and not _is_there(definition, folder, named)):
        return str(_inside(definition, folder, named, "InferenceFunction"))
    if not definition.values.get("ModelConfiguration"):
        raise PackageError(
            tr("{path} has neither InferenceFunction (the package's own raster function) nor ModelConfiguration "
               "(the network that a built-in function runs). One of them is needed.", path=definition.path)
        )  # fmt: skip
    classifies = "classifier" in named.lower() or definition.model_type.lower() in CLASSIFIERS
    return "ObjectClassifier" if classifies else "ObjectDetector"


def _inside(definition: ModelDefinition, folder: Path, name: str, key: str) -> Path:
    """A file of the package that the definition names, relative to itself, with either slash."""
    if not _is_there(definition, folder, name):
        raise PackageError(
            tr("{definition}: {key} names '{name}', but there is no such file in the package. "
               "Ask for a complete package.", definition=definition.path, key=key, name=printable(name)[:LONGEST_NAME])
        )  # fmt: skip
    return _beside(definition, name)


def _is_there(definition: ModelDefinition, folder: Path, name: str) -> bool:
    try:
        path = _beside(definition, name)
        return path.is_file() and path.is_relative_to(folder.resolve())
    except (OSError, ValueError):  # a name that no file can have
        return False


def _beside(definition: ModelDefinition, name: str) -> Path:
    return Path(definition.path.parent, PurePosixPath(name.replace("\\", "/"))).resolve()

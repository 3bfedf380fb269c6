"""Reads packages: a .dlpk archive, a folder, or a bare .emd (CONTRACT 1 and 2)."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from . import archive
from .archive_readers import is_archive
from .cache import cache_folder
from .classes import ModelClass, declared_classes
from .digests import digest_of, recall
from .errors import PackageError, printable
from .translation import tr

BUILT_IN_PREFIX = "[functions]"
LONGEST_NAME = 200
MAXIMUM_DEFINITION = 16 << 20
MAXIMUM_DEPTH = 100
MANY_KEYS = 100
CLASSIFIER_TYPES = ("objectclassification", "imagecaptioner")


@dataclass(frozen=True)
class ModelDefinition:
    """The .emd.

    Attributes:
        path: Absolute.
        values: Its JSON object.
        repeated: Keys that some object of it has more than once; the last one counts, as for the package's own code.
    """

    path: Path
    values: dict[str, Any]
    repeated: tuple[str, ...] = ()

    def text(self, key: str) -> str:
        """A value that must be text; empty when it is absent.

        Raises:
            PackageError: The value is of another kind.
        """
        value = self.values.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise PackageError(
                tr("{path}: {key} must be text, but it is {value}.", path=self.path, key=key, value=json.dumps(value))
            )
        return value

    @property
    def name(self) -> str:
        """What to call the model."""
        return self.shown("ModelName") or self.path.stem

    @property
    def framework(self) -> str:
        """The prefix under which a child module is imported."""
        return self.shown("Framework")

    @property
    def model_type(self) -> str:
        """ObjectDetection, InstanceDetection, ObjectClassification, …; typos occur."""
        return self.shown("ModelType")

    def shown(self, key: str) -> str:
        """A value that is only shown or compared, as text whatever it is."""
        value = self.values.get(key)
        return " ".join(str(value).split())[:LONGEST_NAME] if value is not None else ""

    @property
    def classes(self) -> tuple[ModelClass, ...]:
        """The classes that the model was trained on."""
        return declared_classes(self.values)

    @property
    def tile_size(self) -> int | None:
        """The smaller side of the network's input in pixels, where the definition tells it."""
        sides = [self.values.get(key) for key in ("ImageHeight", "ImageWidth")]
        known = [side for side in sides if isinstance(side, int) and side > 0]
        return min(known) if known else None


@dataclass(frozen=True)
class Package:
    """A package that is ready to run.

    Attributes:
        source: What the user gave.
        sha256: Hash of the content, hexadecimal.
        folder: What the raster function may read: the package's root.
        definition: The model definition.
        function: Absolute path of the raster function's .py, or the name of a built-in wrapper.
        is_recalled: Whether the hash is one that was noted before; then nothing of the package may run by it.
    """

    source: Path
    sha256: str
    folder: Path
    definition: ModelDefinition
    function: str
    is_recalled: bool = False


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
    definition = _read_definition(path)
    _refuse_foreign_weights(definition, folder)
    return Package(source, digest, folder, definition, _function(definition, folder), is_recalled)


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
                _make_readable(definition)
        try:  # a malformed package leaves nothing
            _package(path, digest, unfinished, _find_definition(unfinished, path.stem))
        except PackageError as error:  # users know the archive, not our folder
            raise PackageError(str(error).replace(str(unfinished), str(path))) from error

    archive.extract(path, folder, finish, check)
    return folder


def _make_readable(path: Path) -> None:
    """Rewrite a definition as plain UTF-8: functions open it with the platform's encoding, which knows no mark."""
    raw = path.read_bytes()
    text = _decode(raw).encode()
    if text != raw:
        path.write_bytes(text)


def _decode(raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")


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


def _read_definition(path: Path) -> ModelDefinition:
    with path.open("rb") as file:
        raw = file.read(MAXIMUM_DEFINITION + 1)
    if len(raw) > MAXIMUM_DEFINITION:
        raise PackageError(
            tr("{path} has more than {most} MiB, which is too much for a model definition.", path=path,
               most=MAXIMUM_DEFINITION >> 20)
        )  # fmt: skip
    repeated: dict[str, None] = {}

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            names = [name for name, _ in pairs]
            repeated.update({name: None for name in names if names.count(name) > 1} if len(names) < MANY_KEYS else {"…": None})
        return values

    try:
        values = json.loads(_decode(raw), object_pairs_hook=collect)
        _refuse_depth(values)
    except json.JSONDecodeError as error:
        hint = tr(" A single backslash must be written as two.") if "escape" in error.msg else ""
        raise PackageError(
            tr("{path}, line {line}, column {column}: not valid JSON ({error}).", path=path, line=error.lineno,
               column=error.colno, error=error.msg) + hint
        ) from error  # fmt: skip
    except RecursionError as error:
        raise PackageError(tr("{path} is nested too deeply for a model definition.", path=path)) from error
    except ValueError as error:  # numbers of thousands of digits
        raise PackageError(tr("{path} cannot be read: {error}.", path=path, error=error)) from error
    if not isinstance(values, dict):
        raise PackageError(tr("{path} must hold a JSON object, but holds {kind}.", path=path, kind=type(values).__name__))
    return ModelDefinition(path, values, tuple(repeated)[:MANY_KEYS])


def _refuse_depth(values: object) -> None:
    """Raise RecursionError for what later steps could not walk through."""
    level = [values]
    for _ in range(MAXIMUM_DEPTH):
        level = [
            child
            for value in level
            if isinstance(value, (dict, list))
            for child in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return
    raise RecursionError


def _function(definition: ModelDefinition, folder: Path) -> str:
    """Path of the raster function, or the built-in wrapper where the definition names none of its own."""
    named = definition.text("InferenceFunction").strip()
    if named and not named.lower().startswith(BUILT_IN_PREFIX):
        return str(_inside(definition, folder, named, "InferenceFunction"))
    if not definition.values.get("ModelConfiguration"):
        raise PackageError(
            tr("{path} has neither InferenceFunction (the package's own raster function) nor ModelConfiguration "
               "(the network that a built-in function runs). One of them is needed.", path=definition.path)
        )  # fmt: skip
    classifies = "classifier" in named.lower() or definition.model_type.lower() in CLASSIFIER_TYPES
    return "ObjectClassifier" if classifies else "ObjectDetector"


def _inside(definition: ModelDefinition, folder: Path, name: str, key: str) -> Path:
    """A file of the package that the definition names, relative to itself, with either slash."""
    relative = PurePosixPath(name.replace("\\", "/"))
    try:
        path = Path(definition.path.parent, relative).resolve()
        is_there = path.is_file() and path.is_relative_to(folder.resolve())
    except (OSError, ValueError):  # a name that no file can have
        is_there = False
    if not is_there:
        raise PackageError(
            tr("{definition}: {key} names '{name}', but there is no such file in the package. "
               "Ask for a complete package.", definition=definition.path, key=key, name=printable(name)[:LONGEST_NAME])
        )  # fmt: skip
    return path

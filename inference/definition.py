"""The model definition of a package: its .emd (CONTRACT 2)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .classes import ModelClass, declared_classes
from .errors import PackageError
from .translation import tr

LONGEST_NAME = 200
MAXIMUM_DEFINITION = 16 << 20
MAXIMUM_DEPTH = 100
MANY_KEYS = 100


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
    def problems(self) -> list[str]:
        """Sentences about what readers of the file may take for something else."""
        if not self.repeated:
            return []
        names = ", ".join(self.repeated)[:LONGEST_NAME]
        return [tr("The model definition has {names} more than once; the last one counts.", names=names)]

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
    def is_multi_label(self) -> bool:
        """Whether an object may have several labels, written one after another (CONTRACT 2, MetaDataMode)."""
        return self.shown("MetaDataMode").lower() == "multilabeled_tiles"

    @property
    def tile_size(self) -> int | None:
        """The smaller side of the network's input in pixels, where the definition tells it."""
        sides = [self.values.get(key) for key in ("ImageHeight", "ImageWidth")]
        known = [side for side in sides if isinstance(side, int) and side > 0]
        return min(known) if known else None


def read_definition(path: Path) -> ModelDefinition:
    """Read a model definition, in whatever encoding.

    Raises:
        PackageError: It is too large, no JSON, nested too deeply, or no object.
    """
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


def make_readable(path: Path) -> None:
    """Rewrite a definition as plain UTF-8: functions open it with the platform's encoding, which knows no mark."""
    if path.stat().st_size > MAXIMUM_DEFINITION:
        return  # reading it refuses it
    raw = path.read_bytes()
    text = _decode(raw).encode()
    if text != raw:
        path.write_bytes(text)


def _decode(raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")

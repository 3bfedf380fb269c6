"""What a raster function tells about itself, kept by the identity of its package: its code runs once."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from . import digests
from .arcgis_trained import native_identity
from .arguments import ModelArgument, scalars
from .cache import cache_folder, write_text
from .errors import InferenceError
from .feedback import Feedback
from .fields import Field
from .package import Package
from .raster_function import Hosting, RasterFunction
from .slots import Slots

FORMAT = 1
"""Changes when older notes can no longer be read."""


@dataclass(frozen=True)
class Description:
    """What a function declares.

    Attributes:
        arguments: What users may set.
        fields: Attributes of what it finds; None while it has not been asked, as it must be configured for that.
        geometry_type: 1 point, 2 multipoint, 3 polyline, 4 polygon; None alike.
    """

    arguments: tuple[ModelArgument, ...]
    fields: tuple[Field, ...] | None = None
    geometry_type: int | None = None


def recall(identity: str) -> Description | None:
    """What the package of this identity told before, or None."""
    try:
        noted = json.loads(_note(identity).read_text(encoding="utf-8"))
        if noted.pop("format") != FORMAT:
            return None
        arguments = tuple(ModelArgument(**{**each, "choices": tuple(each["choices"])}) for each in noted["arguments"])
        fields = None if noted["fields"] is None else tuple(Field(**each) for each in noted["fields"])
        return Description(arguments, fields, noted["geometry_type"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # never asked, or the note is damaged: then it is asked again


def remember(identity: str, description: Description) -> None:
    """Write down what a package told."""
    with contextlib.suppress(OSError):  # it is only asked again then
        write_text(_note(identity), json.dumps({"format": FORMAT, **asdict(description)}))


def describe(package: Package, hosting: Hosting, feedback: Feedback, with_fields: bool = False) -> Description:
    """Run the package's code as far as needed to learn what it declares, and note it.

    Args:
        package: The package.
        hosting: Where its code runs.
        feedback: What it prints goes there.
        with_fields: Whether to configure it with its defaults and ask for fields and geometry too.

    Raises:
        FunctionError, WorkerError, Cancelled: See RasterFunction.open.
        InferenceError: It cannot be configured with its defaults.
    """
    slots = Slots()
    try:
        function = RasterFunction(package, hosting, slots, feedback)
        try:
            description = Description(tuple(function.open({})))
            remember(package.identity, description)
            if with_fields:
                answers = function.configure(scalars(list(description.arguments), {})[0])
                description = Description(description.arguments, answers.fields, answers.geometry_type)
                remember(package.identity, description)
            return description
        finally:
            function.kill()
    finally:
        slots.close()


def recalled_for(source: str | Path) -> Description | None:
    """What is known of the archive at this place, without reading it or running its code; at once, so also in the GUI.

    Folders are not looked at: that takes as long as they are large.
    """
    path = Path(source).expanduser().absolute() if source else None
    try:
        sha256 = digests.recall(path) if path is not None and path.is_file() and path.suffix.lower() != ".emd" else None
    except (InferenceError, OSError):
        return None
    return (recall(native_identity(sha256)) or recall(sha256)) if sha256 else None


def _note(identity: str) -> Path:
    return cache_folder() / "descriptions" / f"{identity[:32]}.json"

"""What networks need to know of a model definition (.emd), checked (CONTRACT 2, ARCGIS_LEARN 3)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..contract import read_definition
from .errors import NativeError

LARGEST_TILE = 8192
"""Pixels; a side beyond this is no network's input."""
IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of red, green and blue, 0 to 1 (torchvision's documentation)."""
HIGHEST_BYTE = 255.0


@dataclass(frozen=True)
class Model:
    """A model definition.

    Attributes:
        path: Of the .emd, absolute.
        values: Its JSON object.
    """

    path: str
    values: Mapping[str, Any]

    @classmethod
    def read(cls, path: str) -> Model:
        """Read a definition, which the engine has checked to be a JSON object; what is null is absent."""
        values = {key: value for key, value in read_definition(path).items() if value is not None}
        return cls(os.path.abspath(path), values)

    @cached_property
    def tile(self) -> int:
        """Side of the network's input in pixels: ImageHeight."""
        side = self.values.get("ImageHeight")
        if isinstance(side, bool) or not isinstance(side, int) or not 0 < side <= LARGEST_TILE:
            raise self.error("ImageHeight", f"a number of pixels from 1 to {LARGEST_TILE}")
        return side

    @cached_property
    def resized(self) -> tuple[int, int] | None:
        """Rows and columns to which chips are brought before the network sees them; None to leave them."""
        value = self.values.get("resize_to")
        if not value:
            return None
        sides = value if isinstance(value, list) and len(value) in (1, 2) else [value]
        if not all(isinstance(each, int) and 0 < each <= LARGEST_TILE for each in sides):
            raise self.error("resize_to", "a number of pixels, or two")
        return sides[0], sides[-1]

    @cached_property
    def side(self) -> int:
        """Side of the square that the network sees."""
        if self.resized is None:
            return self.tile
        if self.resized[0] != self.resized[1]:
            raise self.error("resize_to", "the side of a square")
        return self.resized[0]

    @cached_property
    def bands(self) -> tuple[int | str, ...]:
        """The bands in the order that the network takes them; red, green and blue where nothing is told."""
        bands = self.values.get("ExtractBands", [0, 1, 2])
        is_list = isinstance(bands, list) and bands and all(isinstance(each, (int, str)) for each in bands)
        if not is_list:
            raise self.error("ExtractBands", "a list of bands")
        return tuple(bands)

    @cached_property
    def batch_size(self) -> int | None:
        """Chips that run at once where the definition fixes it; None where an argument tells."""
        size = self.values.get("BatchSize")
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
            raise self.error("BatchSize", "a number of chips, 1 or more")
        return size

    @cached_property
    def class_names(self) -> list[str]:
        """By position; Value plays no part."""
        classes = self.values.get("Classes")
        if not isinstance(classes, list) or not classes or not all(isinstance(each, Mapping) for each in classes):
            raise self.error("Classes", "a list of classes")
        return [_class_name(each, place) for place, each in enumerate(classes, 1)]

    @property
    def is_map_space(self) -> bool:
        """Whether its images have no up or down."""
        return str(self.values.get("ImageSpaceUsed", "MAP_SPACE")).upper() != "PIXEL_SPACE"

    @property
    def backbone(self) -> str:
        """Name of the trunk; ResNet-34 where nothing is told, which is ArcGIS's default."""
        name = self.parameter("backbone") or self.values.get("backbone") or "resnet34"
        if not isinstance(name, str):
            raise self.error("backbone", "a name")
        return name.strip().lower()

    @property
    def weights(self) -> str:
        """Absolute path of the weights."""
        name = self.values.get("ModelFile")
        if not isinstance(name, str) or not name.strip() or "://" in name:
            raise self.error("ModelFile", "the name of the file with the weights, which is part of the package")
        path = os.path.normpath(os.path.join(os.path.dirname(self.path), name.strip().replace("\\", "/")))
        if not os.path.isfile(path):
            raise NativeError(f"{self.path}: ModelFile names '{name}', which is not there. Ask for a complete package.")
        return path

    def parameter(self, name: str) -> Any:  # noqa: ANN401 - any value of JSON
        """An entry of ModelParameters; None without."""
        parameters = self.values.get("ModelParameters")
        return parameters.get(name) if isinstance(parameters, Mapping) else None

    def numbers(self, name: str, value: object, count: int | None = None) -> list[float]:
        """A list of finite numbers, of a certain length if one is given."""
        numbers = value if isinstance(value, Sequence) and not isinstance(value, str) else ()
        good = all(isinstance(each, (int, float)) and abs(each) < 1e30 for each in numbers)  # noqa: PLR2004 - no infinity
        if not numbers or not good or (count is not None and len(numbers) != count):
            raise self.error(name, f"a list of {count if count else 'some'} numbers")
        return [float(each) for each in numbers]

    def keywords(self, name: str) -> dict[str, Any]:
        """An object of settings; empty without."""
        value = self.values.get(name)
        return dict(value) if isinstance(value, Mapping) else {}

    def error(self, key: str, expected: str) -> NativeError:
        """The error about a value of the definition."""
        value = self.parameter(key) if key not in self.values else self.values[key]
        shown = json.dumps(value)[:200] if value is not None else "missing"
        return NativeError(f"{self.path}: {key} must be {expected}, but it is {shown}. The package cannot run; ask who made it.")


def _class_name(entry: Mapping[str, Any], place: int) -> str:
    """As the engine names it: by its name, else by its value."""
    keys = ("Name", "ClassName", "Value", "ClassValue")
    return str(next((entry[key] for key in keys if entry.get(key) is not None), place))

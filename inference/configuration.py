"""What getConfiguration answered: the shape of a block, its bands and their range (CONTRACT 3.3)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .crop import Crop
from .errors import ConfigurationError
from .grid import Grid
from .rasters.bands import band_key
from .translation import tr


@dataclass(frozen=True)
class Configuration:
    """How blocks must be cut.

    Attributes:
        width, height: Core of a block in pixels (tx, ty).
        padding: Pixels around the core, on each side.
        bands: Numbers (from 0) or names of the bands in the order wanted; None for all.
        data_range: Values to which pixels are scaled; None to leave them.
        crop: How chips are cut, for a classifier.
        in_chips: Whether blocks hold chips: these lie in a row, each is one pixel of it, and `width` of them are a block.
    """

    width: int
    height: int
    padding: int
    bands: tuple[int | str, ...] | None = None
    data_range: tuple[float, float] | None = None
    crop: Crop = field(default_factory=lambda: Crop(1, 1))
    in_chips: bool = False

    @classmethod
    def from_answer(cls, answer: object, definition: dict[str, Any], scalars: Mapping[str, str]) -> Configuration:
        """Check what the function answered.

        Args:
            answer: What getConfiguration returned, as JSON.
            definition: The .emd, for what the answer leaves open.
            scalars: The values of all arguments, alike.

        Raises:
            ConfigurationError: The answer is no dict, or a size, the padding, a band or the range is nonsense.
        """
        if not isinstance(answer, dict):
            raise ConfigurationError(
                tr("getConfiguration() must answer a dict, but answered {kind}.", kind=type(answer).__name__)
            )
        padding = _whole(answer.get("padding", 0), "padding")
        if padding < 0:
            raise _nonsense("padding", padding, tr("it cannot be negative"))
        width, height = _side(answer, "tx", padding), _side(answer, "ty", padding)
        bands = answer.get("extractBands", definition.get("ExtractBands"))
        told = {**definition, **answer}
        batch = answer.get("batch_size", definition.get("BatchSize", scalars.get("batch_size", 1)))
        # Both rules are on where nobody tells (CONTRACT 2).
        crop = Crop(
            width, height, padding, _switch(told.get("CropSizeFixed")), _switch(told.get("BlackenAroundFeature")), _batch(batch)
        )
        return cls(width, height, padding, _bands(bands), _range(answer.get("dataRange")), crop)

    @property
    def batch(self) -> int | None:
        """Chips in one call of the function, at most; None where a call is one block."""
        return self.crop.batch_size if self.in_chips else None

    def band_indices(self, grid: Grid) -> tuple[int, ...]:
        """The bands to read, counted from 0; all but the one that only tells how opaque the others are, unless it is asked for.

        Raises:
            ConfigurationError: The raster lacks a band.
        """
        names = grid.band_names
        if self.bands is None:
            return tuple(band for band in range(len(names)) if band != grid.alpha or len(names) == 1)
        known = {band_key(name): index for index, name in reversed(list(enumerate(names))) if name}
        return tuple(self._band_index(band, names, known) for band in self.bands)

    def _band_index(self, band: int | str, names: tuple[str, ...], known: dict[str, int]) -> int:
        index = band if isinstance(band, int) else known.get(band_key(band), -1)
        if 0 <= index < len(names):
            return index
        wanted = tr("band {number}", number=band + 1) if isinstance(band, int) else tr("a band named '{name}'", name=band)
        named = [name for name in names if name]
        raise ConfigurationError(
            tr("The model wants {wanted}, but the raster has {count} band(s){names}. Choose a raster with the bands that "
               "the model was trained on.", wanted=wanted, count=len(names),
               names=f" ({', '.join(named)})" if named else "")
        )  # fmt: skip


def check_padding(padding: str | None, tile_size: int | None) -> None:
    """Refuse a padding that leaves nothing of the network's input, before the function meets it.

    Args:
        padding: The value of the argument of that name, if there is one.
        tile_size: Side of the network's input in pixels, if known.

    Raises:
        ConfigurationError: Twice the padding is the side or more.
    """
    if padding is None or tile_size is None:
        return
    try:
        pixels = float(padding)
    except ValueError:
        return  # an argument of that name which is no number of pixels
    if pixels < 0 or 2 * pixels >= tile_size:
        why = tr("it must be at least 0 and less than half of the model's input of {side} pixels", side=tile_size)
        raise _nonsense("padding", padding, why)


def _nonsense(name: str, value: object, why: str) -> ConfigurationError:
    return ConfigurationError(tr("The value {value} of {name} cannot be used: {why}.", value=value, name=name, why=why))


def _whole(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value != int(value):
        raise _nonsense(name, value, tr("it must be a whole number of pixels"))
    return int(value)


def _side(answer: dict[str, Any], name: str, padding: int) -> int:
    if name not in answer:
        raise ConfigurationError(
            tr("getConfiguration() did not answer {name}, the size of a block in pixels. The package is incomplete.", name=name)
        )
    side = _whole(answer[name], name)
    if side <= 0:
        why = tr("a block must have at least one pixel; with a padding of {padding} nothing is left", padding=padding)
        raise _nonsense(name, side, why)
    return side


def _switch(value: object) -> bool:
    """A value that is 0 or 1, also as text or boolean; on where it is none of them."""
    return str(value).strip().lower() not in ("0", "0.0", "false")


def _batch(value: object) -> int:
    try:
        return max(int(float(str(value))), 1)
    except (ValueError, OverflowError):
        return 1


def _bands(value: object) -> tuple[int | str, ...] | None:
    if value is None or value == []:
        return None
    if not isinstance(value, list):
        raise _nonsense("extractBands", value, tr("it must be a list"))
    return tuple(band if isinstance(band, str) else _whole(band, "extractBands") for band in value)


def _range(value: object) -> tuple[float, float] | None:
    if value is None:
        return None
    numbers = value if isinstance(value, list) else []
    if len(numbers) != 2 or not all(isinstance(item, (int, float)) for item in numbers):  # noqa: PLR2004 - low, high
        raise _nonsense("dataRange", value, tr("it must be a lowest and a highest value"))
    return float(numbers[0]), float(numbers[1])

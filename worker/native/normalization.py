"""From pixel values to what networks were trained on (ARCGIS_LEARN 3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from .errors import NativeError
from .model import HIGHEST_BYTE, IMAGENET_DEVIATION, IMAGENET_MEAN, Model


class Normalization(nn.Module):
    """((v - low) / (high - low) - mean) / deviation, band by band; nothing is clipped."""

    def __init__(self, low: Sequence[float], high: Sequence[float], mean: Sequence[float], deviation: Sequence[float]) -> None:
        super().__init__()
        spans = [top - bottom for bottom, top in zip(low, high)]
        for name, values in (("low", low), ("span", spans), ("mean", mean), ("deviation", deviation)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).view(-1, 1, 1), persistent=False)

    def forward(self, chips: torch.Tensor) -> torch.Tensor:
        """Chips (n, bands, height, width) in float32, changed in place."""
        return chips.sub_(self.low).div_(self.span).sub_(self.mean).div_(self.deviation)


def normalization(model: Model, with_imagenet: bool = True) -> Normalization:
    """The one of a model: by its own statistics, else by those of 8-bit colours.

    Args:
        model: The definition.
        with_imagenet: Whether the family also takes ImageNet's mean and deviation where there are no statistics.

    Raises:
        NativeError: The statistics are damaged, or missing for other bands than red, green and blue.
    """
    bands = len(model.bands)
    statistics = model.values.get("NormalizationStats")
    if statistics:
        keys = ("band_min_values", "band_max_values", "scaled_mean_values", "scaled_std_values")
        low, high, mean, deviation = (_listed(model, statistics, key) for key in keys)
        if any(top == bottom for bottom, top in zip(low, high)) or 0 in deviation:
            raise model.error("NormalizationStats", "statistics of bands that vary")
        return Normalization(low, high, mean, deviation)
    zeros, ones, top = [0.0] * bands, [1.0] * bands, [HIGHEST_BYTE] * bands
    if not with_imagenet:
        return Normalization(zeros, top, zeros, ones)
    if bands != len(IMAGENET_MEAN):
        raise NativeError(
            f"{model.path}: the model takes {bands} band(s) but has no NormalizationStats; what it would be given is known for "
            "three bands only. Ask who made the package for one that has them."
        )
    return Normalization(zeros, top, IMAGENET_MEAN, IMAGENET_DEVIATION)


def _listed(model: Model, statistics: object, key: str) -> list[float]:
    """One value a band of the network, out of a list that has one for each band of the training images."""
    values = statistics.get(key) if isinstance(statistics, dict) else None
    if not isinstance(values, list):
        raise model.error("NormalizationStats", f"statistics with a list {key}")
    named = model.values.get("Bands") or model.parameter("band_names")
    names = [_plain(each) for each in named] if isinstance(named, list) else []
    if not names and len(values) == len(model.bands):
        names = [_plain(band) for band in model.bands]  # as many as there are bands: theirs, in their order
    chosen = []
    for band in model.bands:
        index = band if isinstance(band, int) else names.index(_plain(band)) if _plain(band) in names else -1
        if not 0 <= index < len(values):
            raise model.error("NormalizationStats", f"statistics that have band {band}, as ExtractBands names it")
        chosen.append(values[index])
    return model.numbers("NormalizationStats", chosen)


def _plain(name: object) -> str:
    """A name of a band without case, blanks and signs."""
    return "".join(letter for letter in str(name).casefold() if letter.isalnum())

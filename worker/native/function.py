"""The raster function over a rebuilt network: what detectors and the classifier share.

It offers what any package's function offers (CONTRACT 3), so its host knows no difference.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from ..contract import POLYGON, Parameter, parameter
from .augmentation import View, views
from .errors import NativeError, first_line
from .model import Model
from .weights import read_weights

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""What networks may compute in; all but the first change the numbers a little."""
TRANSLATORS = ("torch._dynamo", "torch._inductor")
"""Modules whose errors come of torch.compile alone."""
TRUE, FALSE = "True", "False"
Network = TypeVar("Network", bound=nn.Module)


class NativeFunction(Generic[Network]):
    """A raster function whose network is one of ours and whose weights are the package's."""

    def __init__(self, family: Any, is_contained: bool = True) -> None:  # noqa: ANN401 - a class that has `of`
        """Take a family's class; `is_contained` tells whether harm could be done (see weights.read_weights)."""
        self.name = family.__name__
        self.description = f"{family.__name__}, trained in ArcGIS and run natively"
        self._family, self._is_contained = family, is_contained
        self._precision, self._device = torch.float32, torch.device("cpu")
        self.model: Model
        self.network: Network

    def initialize(self, **scalars: Any) -> None:  # noqa: ANN401 - the contract's signature
        """Read the model definition, build the network and load its weights; no code of the package runs."""
        self.model = Model.read(scalars["model"])
        index = int(scalars["device"])
        self._device = torch.device("cuda", index) if index >= 0 else torch.device("cpu")
        network = self._family.of(self.model, read_weights(self.model.weights, self._is_contained))
        self.network = network.eval().requires_grad_(False).to(self._device, memory_format=torch.channels_last)

    def getGeometryType(self) -> int:
        """Polygons."""
        return POLYGON

    def _configured(self, scalars: Mapping[str, str], **further: object) -> dict[str, Any]:
        """What getConfiguration answers, whatever the network."""
        self._precision = PRECISIONS[scalars.get("precision", "float32")]
        if scalars.get("compile", FALSE) == TRUE:
            self._compile()
        told: dict[str, Any] = {"extractBands": self.model.bands, "inputMask": True, "inheritProperties": 14, **further}
        if self.model.values.get("DataRange") is not None:
            told["dataRange"] = self.model.values["DataRange"]
        return told

    def _compile(self) -> None:
        if not hasattr(self.network, "compile"):
            raise NativeError(
                f"compile is True, but torch {torch.__version__} is too old for it. Leave it at False, or update torch."
            )
        self.network.compile()

    def _chips(self, arrays: NDArray[Any]) -> torch.Tensor:
        """Arrays (n, bands, height, width) on the device, as float32, in the size that the network was trained on.

        8-bit values travel as they are.
        """
        plain = arrays
        if arrays.dtype != np.uint8:
            plain = arrays.astype(np.float32)
            plain[~np.isfinite(plain)] = 0  # as what the mask excludes: one such value would spoil its whole chip
        chips = torch.from_numpy(plain).to(self._device, non_blocking=True)
        chips = chips.to(torch.float32).contiguous(memory_format=torch.channels_last)
        size = self.model.resized
        return chips if size is None else functional.interpolate(chips, size=size, mode="bilinear")

    def _views(self, scalars: Mapping[str, str]) -> tuple[View, ...]:
        """How the network looks at each chip, by the argument test_time_augmentation."""
        return tuple(views(self.model.is_map_space)) if scalars["test_time_augmentation"] == TRUE else (View(),)

    @contextlib.contextmanager
    def _computing(self) -> Iterator[None]:
        """Without what only training needs, in the precision that was chosen.

        Raises:
            NativeError: The network was to be translated, and this machine cannot.
        """
        is_reduced = self._precision != torch.float32
        precision = torch.autocast(self._device.type, self._precision) if is_reduced else contextlib.nullcontext()
        try:
            with torch.inference_mode(), precision:
                yield
        except RuntimeError as error:
            if type(error).__module__.startswith(TRANSLATORS):
                raise NativeError(
                    f"compile is True, but torch cannot translate {self.name} on this machine ({first_line(error)}). Leave it "
                    "at False, or install what is missing."
                ) from error
            raise


def own_parameters() -> list[Parameter]:
    """What ArcGIS does not offer."""
    return [
        parameter("precision", "string", "float32", "Precision",
                  "What the network computes in. float32 gives the numbers of ArcGIS; bfloat16 and float16 are faster on many "
                  "machines and change confidences a little. Not in ArcGIS.", tuple(PRECISIONS)),
        parameter("compile", "string", FALSE, "Compile",
                  "Translate the network for this machine by torch.compile, which needs a compiler and takes a minute at first. "
                  "Not in ArcGIS.",
                  (TRUE, FALSE)),
    ]  # fmt: skip


def augmentation_parameter(model: Model) -> Parameter:
    """The argument test_time_augmentation, with the definition's default."""
    default = str(model.values.get("test_time_augmentation", FALSE)).strip().capitalize()
    text = "Look at each chip turned and mirrored, too, and merge what is found: slower, somewhat more certain."
    value = default if default in (TRUE, FALSE) else FALSE
    return parameter("test_time_augmentation", "string", value, "Test-time augmentation", text, (TRUE, FALSE))

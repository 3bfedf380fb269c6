"""What Faster R-CNN and Mask R-CNN share: torchvision's models (BSD-3-Clause), on the trunks that ArcGIS gives them.

Facts: ARCGIS_LEARN 4. Pixels are normalised before torchvision sees them, so its own normalisation does nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from .errors import NativeError
from .model import Model
from .network import Detector, Found, widened
from .normalization import normalization
from .trunks import trunk
from .weights import State, load, shape_of

LEAST_SIDE, GREATEST_SIDE = 1.5, 2.0
"""Images are enlarged to so many times the tile, not rounded."""
MOST = 1_000_000
"""No setting is larger."""
ANCHOR_SIDE, ANCHOR_RATIOS = 32, (0.5, 1.0, 2.0)
"""Of trunks without a feature pyramid."""
_OLDER_NAMES = (
    (re.compile(r"^rpn\.head\.conv\.(weight|bias)$"), r"rpn.head.conv.0.0.\1"),
    (re.compile(r"^(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)$"), r"\1.0.\2"),
    *((re.compile(rf"^roi_heads\.mask_head\.mask_fcn{number + 1}\."), f"roi_heads.mask_head.{number}.0.") for number in range(4)),
)
"""Names before torchvision 0.13, and since."""


class RegionDetector(Detector):
    """A network of torchvision that looks at regions; a subclass tells which, and what it sets for a run."""

    ARCHITECTURE = ""
    KEYWORDS = ""
    """Key of the definition with settings that differ from torchvision's."""

    def __init__(self, model: Model, state: State) -> None:
        super().__init__(model)
        state = {_renamed(name): tensor for name, tensor in state.items()}
        detection = _torchvision(type(self).__name__)
        mean, deviation = [0.0] * len(model.bands), [1.0] * len(model.bands)
        below, settings = _below(model, state, detection)
        settings |= _settings(model.keywords(self.KEYWORDS))
        build = getattr(detection, self.ARCHITECTURE)
        try:
            self.network = build(below, len(model.class_names) + 1, image_mean=mean, image_std=deviation, **settings)
        except (TypeError, ValueError, AssertionError) as error:
            raise NativeError(
                f"{model.path}: torchvision does not take the settings of {self.KEYWORDS} ({error}). Take out the one that it "
                "names; it may belong to another version."
            ) from error
        for part in _parts(self.network):
            part.register_forward_hook(lambda _, __, answer: _widened(answer))
        self.normalization = normalization(model)
        load(self.network, state, model.weights)

    @classmethod
    def of(cls, model: Model, state: State) -> RegionDetector:
        """Build the network that the weights are of, and load them."""
        return cls(model, state)

    def forward(self, chips: torch.Tensor) -> list[dict[str, torch.Tensor]]:
        """Normalised chips to torchvision's answers: boxes x1, y1, x2, y2, labels from 1, scores, and perhaps masks."""
        transform, side = self.network.transform, chips.shape[-1]
        transform.min_size, transform.max_size = (LEAST_SIDE * side,), GREATEST_SIDE * side
        answers: list[dict[str, torch.Tensor]] = self.network(list(chips))
        return answers

    def detect(self, chips: torch.Tensor, threshold: float, max_overlap: float) -> list[Found]:
        """Torchvision's own rules, with the values of this run."""
        self._prepare(threshold, max_overlap)
        return [_found(answer) for answer in self(self.normalization(chips))]

    def _prepare(self, threshold: float, max_overlap: float) -> None:
        raise NotImplementedError


def _parts(network: Any) -> list[nn.Module]:  # noqa: ANN401 - a module of torchvision
    """Those whose answers become boxes, scores and masks."""
    heads = network.roi_heads
    return [network.backbone, network.rpn.head, heads.box_predictor, *([heads.mask_predictor] if heads.has_mask() else [])]


def _widened(answer: Any) -> Any:  # noqa: ANN401 - tensors, or lists or a mapping of them
    """Torchvision makes anchors and boxes in the type of what it is given, and bfloat16 has whole pixels only."""
    if isinstance(answer, torch.Tensor):
        return widened(answer)
    if isinstance(answer, Mapping):
        return {name: widened(level) for name, level in answer.items()}
    return type(answer)(map(_widened, answer))


def _below(model: Model, state: State, detection: Any) -> tuple[nn.Module, dict[str, Any]]:  # noqa: ANN401 - a module
    """What is below the regions, as the names of the weights tell, and the settings that go with it."""
    if "backbone.body.conv1.weight" in state:
        return _pyramid(model.backbone, len(model.bands)), {}
    below = trunk(model.backbone, len(model.bands))
    below.out_channels = shape_of(state, "rpn.head.conv.0.0.weight", 4, model.weights)[1]
    anchors = detection.anchor_utils.AnchorGenerator(((ANCHOR_SIDE,),), (ANCHOR_RATIOS,))
    return below, {"rpn_anchor_generator": anchors}


def _found(answer: Mapping[str, torch.Tensor]) -> Found:
    boxes, masks = answer["boxes"].float(), answer.get("masks")
    return Found(boxes[:, [1, 0, 3, 2]], answer["scores"].float(), answer["labels"] - 1, None if masks is None else masks[:, 0])


def _torchvision(family: str) -> Any:  # noqa: ANN401 - a module
    try:
        import torchvision
        from torchvision.models import detection
    except ModuleNotFoundError as error:
        # The host tells how to install it, by the cause.
        raise NativeError(f"{family} runs by the library torchvision, 0.13 or newer, which is missing.") from error
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        raise NativeError(
            f"{family} runs by the library torchvision, which cannot be used with torch {torch.__version__} here ({error}). "
            "Install the two in versions that belong together."
        ) from error
    version = [int(part) for part in re.findall(r"\d+", torchvision.__version__)[:2]]
    if version < [0, 13]:
        raise NativeError(f"{family} runs by torchvision 0.13 or newer, but {torchvision.__version__} is installed. Update it.")
    return detection


def _pyramid(name: str, bands: int) -> nn.Module:
    """Torchvision's ResNet with a feature pyramid. Its norms are plain: frozen ones give the same, and take longer."""
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    try:
        below = resnet_fpn_backbone(backbone_name=name, weights=None, norm_layer=nn.BatchNorm2d, trainable_layers=5)
    except (KeyError, ValueError) as error:
        raise NativeError(
            f"The trunk {name} has no feature pyramid that is known here; those of ResNets are. Where the inference Python has "
            "Esri's library arcgis, ARCGIS_TRAINED=PACKAGE runs it by that."
        ) from error
    below.body["conv1"] = nn.Conv2d(bands, 64, 7, 2, 3, bias=False)
    return below


def _settings(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Those for torchvision's model; others are about training."""
    return {
        name: int(value) if value == int(value) else value
        for name, value in keywords.items()
        if name.startswith(("rpn_", "box_"))
        and isinstance(value, (int, float))
        and not isinstance(value, bool)
        and abs(value) < MOST
    }


def _renamed(name: str) -> str:
    for older, newer in _OLDER_NAMES:
        name = older.sub(newer, name)
    return name

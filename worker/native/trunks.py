"""The trunks below the heads: classification networks without their ends, with the names of their weights.

Public originals: torchvision's resnet, vgg, densenet and mobilenetv2 (BSD-3-Clause); those of timm come from timm
itself (Apache-2.0). Each is a Sequential of the original's children, as fastai's `create_body` cuts it (Apache-2.0).
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn

from .errors import NativeError
from .resnets import RESNETS, resnet

_VGGS = {
    "vgg11": (1, 1, 2, 2, 2), "vgg13": (2, 2, 2, 2, 2), "vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4),
}  # fmt: skip
_DENSENETS = {
    "densenet121": (32, (6, 12, 24, 16), 64), "densenet161": (48, (6, 12, 36, 24), 96),
    "densenet169": (32, (6, 12, 32, 32), 64), "densenet201": (32, (6, 12, 48, 32), 64),
}  # fmt: skip
_MOBILE_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, blocks, stride (Sandler et al. 2018, table 2)."""
_TIMM = re.compile(r"^timm[:_]", re.IGNORECASE)


def trunk(name: str, bands: int) -> nn.Sequential:
    """A trunk by the name that model definitions give it, with the strides of the original: 32 in the end.

    Args:
        name: As `ModelParameters.backbone`.
        bands: How many it takes.

    Raises:
        NativeError: It is none of those that are known here, nor of timm's, or timm is missing.
    """
    if name in RESNETS:
        return resnet(name, bands)
    if name.removesuffix("_bn") in _VGGS:
        return nn.Sequential(_vgg(_VGGS[name.removesuffix("_bn")], name.endswith("_bn"), bands))
    if name in _DENSENETS:
        return nn.Sequential(_densenet(*_DENSENETS[name], bands))
    if name == "mobilenet_v2":
        return nn.Sequential(_mobilenet(bands))
    return _of_timm(_TIMM.sub("", name), bands, bool(_TIMM.match(name)))


def _vgg(counts: tuple[int, ...], with_norm: bool, bands: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = bands
    for width, count in zip((64, 128, 256, 512, 512), counts):
        for _ in range(count):
            layers += [
                nn.Conv2d(channels, width, 3, 1, 1),
                *([nn.BatchNorm2d(width)] if with_norm else []),
                nn.ReLU(inplace=True),
            ]
            channels = width
        layers.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*layers)


class _DenseLayer(nn.Module):
    """Norm, ReLU and convolution, twice; its answer is joined to what came in."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(channels), nn.Conv2d(channels, 4 * growth, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(4 * growth), nn.Conv2d(4 * growth, growth, 3, 1, 1, bias=False)

    def forward(self, chips: torch.Tensor) -> torch.Tensor:
        inner = self.conv1(torch.relu(self.norm1(chips)))
        return torch.cat([chips, self.conv2(torch.relu(self.norm2(inner)))], 1)


def _densenet(growth: int, blocks: tuple[int, ...], channels: int, bands: int) -> nn.Sequential:
    layers = nn.Sequential()
    layers.add_module("conv0", nn.Conv2d(bands, channels, 7, 2, 3, bias=False))
    layers.add_module("norm0", nn.BatchNorm2d(channels))
    layers.add_module("relu0", nn.ReLU(inplace=True))
    layers.add_module("pool0", nn.MaxPool2d(3, 2, 1))
    for place, count in enumerate(blocks, 1):
        block = nn.Sequential()
        for number in range(1, count + 1):
            block.add_module(f"denselayer{number}", _DenseLayer(channels, growth))
            channels += growth
        layers.add_module(f"denseblock{place}", block)
        if place < len(blocks):
            transition = nn.Sequential()
            transition.add_module("norm", nn.BatchNorm2d(channels))
            transition.add_module("relu", nn.ReLU(inplace=True))
            transition.add_module("conv", nn.Conv2d(channels, channels // 2, 1, bias=False))
            transition.add_module("pool", nn.AvgPool2d(2, 2))
            layers.add_module(f"transition{place}", transition)
            channels //= 2
    layers.add_module("norm5", nn.BatchNorm2d(channels))
    return layers


def _convolved(channels: int, out: int, size: int, stride: int, groups: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(channels, out, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out), nn.ReLU6(inplace=True))


class _Inverted(nn.Module):
    """An inverted residual: wide inside, narrow outside."""

    def __init__(self, channels: int, out: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels * expansion
        widened = [_convolved(channels, inner, 1, 1)] if expansion != 1 else []
        narrowed = [nn.Conv2d(inner, out, 1, bias=False), nn.BatchNorm2d(out)]
        self.conv = nn.Sequential(*widened, _convolved(inner, inner, 3, stride, inner), *narrowed)
        self.is_shortcut = stride == 1 and channels == out

    def forward(self, chips: torch.Tensor) -> torch.Tensor:
        return chips + self.conv(chips) if self.is_shortcut else self.conv(chips)


def _mobilenet(bands: int) -> nn.Sequential:
    layers: list[nn.Module] = [_convolved(bands, 32, 3, 2)]
    channels = 32
    for expansion, width, blocks, stride in _MOBILE_STAGES:
        for number in range(blocks):
            layers.append(_Inverted(channels, width, 1 if number else stride, expansion))
            channels = width
    return nn.Sequential(*layers, _convolved(channels, 1280, 1, 1))


def _of_timm(name: str, bands: int, is_named: bool) -> nn.Sequential:
    """A network of timm up to its last pooling, which is how fastai cuts one whose shape it does not know.

    Args:
        name: As timm calls it.
        bands: How many it takes.
        is_named: Whether the definition says that it is timm's.
    """
    known = ", ".join((*RESNETS, *_VGGS, *(f"{each}_bn" for each in _VGGS), *_DENSENETS, "mobilenet_v2"))
    missing = None
    try:
        import timm
    except ModuleNotFoundError as error:
        missing = error
    if missing is not None:
        raise NativeError(
            f"The model's trunk is {name}. The plugin itself knows {known}; the library timm, which may know it, is missing."
        ) from (missing if is_named else None)  # by the cause, the host tells how to install it
    if not timm.is_model(name):
        raise NativeError(f"The model's trunk is {name}, which neither the plugin ({known}) nor timm {timm.__version__} knows.")
    children = list(timm.create_model(name, pretrained=False, in_chans=bands).children())
    pooled = [place for place, child in enumerate(children) if _pools(child)]
    if not pooled:
        raise NativeError(f"The model's trunk is timm's {name}, which has no pooling to cut it at.")
    return nn.Sequential(*children[: pooled[-1]])


def _pools(module: Any) -> bool:  # noqa: ANN401 - torch has no types here
    kinds = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.AvgPool2d, nn.MaxPool2d)
    return "Pool" in type(module).__name__ or any(isinstance(child, kinds) for child in module.modules())

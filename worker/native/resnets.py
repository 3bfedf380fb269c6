"""Residual networks (He et al. 2015) as torchvision builds them (BSD-3-Clause), without their ends."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

RESNETS = {
    "resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3),
    "resnet152": (3, 8, 36, 3),
}  # fmt: skip
"""Blocks of each stage (He et al. 2015, table 1)."""
FIRST_STAGE = 4
"""Place of a ResNet's first stage among its children."""


def resnet(name: str, bands: int) -> nn.Sequential:
    """Convolution, norm, ReLU, pooling, and four stages."""
    block: Callable[..., nn.Module] = Basic if name in ("resnet18", "resnet34") else Bottleneck
    expansion = 1 if block is Basic else Bottleneck.EXPANSION
    layers: list[nn.Module] = [
        nn.Conv2d(bands, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1),
    ]  # fmt: skip
    channels = 64
    for place, (width, blocks) in enumerate(zip((64, 128, 256, 512), RESNETS[name])):
        stage = [block(channels if number == 0 else width * expansion, width, 2 if place and not number else 1)
                 for number in range(blocks)]  # fmt: skip
        layers.append(nn.Sequential(*stage))
        channels = width * expansion
    return nn.Sequential(*layers)


def stages_of(network: nn.Sequential, chips: torch.Tensor) -> list[torch.Tensor]:
    """What the stages of a ResNet answer, C2 to C5 (or as many as it has)."""
    answers = []
    for place, child in enumerate(network):
        chips = child(chips)
        if place >= FIRST_STAGE:
            answers.append(chips)
    return answers


class _Residual(nn.Module):
    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, chips: torch.Tensor) -> torch.Tensor:
        """Convolutions beside a shortcut."""
        straight = chips if self.downsample is None else self.downsample(chips)
        return self.relu(self.convolved(chips) + straight)

    def convolved(self, chips: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


class Basic(_Residual):
    """Two convolutions of 3 x 3."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__(channels, width, stride)
        self.conv1, self.bn1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)

    def convolved(self, chips: torch.Tensor) -> torch.Tensor:
        """Without the shortcut."""
        return self.bn2(self.conv2(self.relu(self.bn1(self.conv1(chips)))))


class Bottleneck(_Residual):
    """Convolutions of 1 x 1, 3 x 3 (which has the stride) and 1 x 1."""

    EXPANSION = 4

    def __init__(self, channels: int, width: int, stride: int) -> None:
        out = width * self.EXPANSION
        super().__init__(channels, out, stride)
        self.conv1, self.bn1 = nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out)

    def convolved(self, chips: torch.Tensor) -> torch.Tensor:
        """Without the shortcut."""
        inner = self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(chips))))))
        return self.bn3(self.conv3(inner))

"""Chooses the device of this process and prepares the environment before the package is imported."""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import asdict, dataclass
from typing import Any


class DeviceError(Exception):
    """The wanted device is not there."""


@dataclass(frozen=True)
class Device:
    """Where the network runs: index as the contract wants it (-1 is the CPU), name, why, and how many GPUs exist."""

    index: int
    name: str
    reason: str
    count: int = 0

    def as_message(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        return asdict(self)


def choose(processor: str, gpu: int) -> Device:
    """Choose the device and set what functions look at: CUDA_VISIBLE_DEVICES and the CUDA context.

    Args:
        processor: AUTO (a GPU where there is one), CPU or GPU.
        gpu: Which of the visible GPUs, counted from 0.

    Raises:
        DeviceError: A GPU was asked for and none can be used.
    """
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    if processor == "CPU":
        return _cpu("the CPU was asked for")
    reason = _why_no_gpu()
    if not reason:
        return _gpu(gpu)
    if processor == "GPU":
        raise DeviceError(f"a GPU was asked for, but {reason}")
    return _cpu(reason)


def _cpu(reason: str) -> Device:
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    return Device(-1, "CPU", reason)


def _gpu(index: int) -> Device:
    """Take one GPU for this process; CUDA starts now, as functions rewrite CUDA_VISIBLE_DEVICES later."""
    import torch

    count = torch.cuda.device_count()
    if index >= count:
        raise DeviceError(f"GPU {index} was asked for, but there are {count}")
    torch.cuda.init()
    torch.cuda.set_device(index)
    name = torch.cuda.get_device_name(index)
    return Device(index, name, f"torch {torch.__version__} sees {count} GPU(s)", count)


def _why_no_gpu() -> str:
    """Why no GPU can be used, or an empty string; torch is imported only where a driver is present."""
    if not _driver_present():
        return "no driver of an NVIDIA or AMD GPU was found"
    try:
        import torch
    except ImportError as error:
        return f"torch cannot be imported in {sys.executable} ({error})"
    if torch.cuda.is_available():
        return ""
    if torch.version.cuda is None and getattr(torch.version, "hip", None) is None:
        return f"torch {torch.__version__} in {sys.executable} is built for the CPU only"
    return f"torch {torch.__version__} cannot use the GPU (its driver may be too old for CUDA {torch.version.cuda})"


def _driver_present() -> bool:
    if os.path.exists("/dev/kfd"):
        return True
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True

"""Tells what this Python offers: its libraries and devices. No code of a package is involved."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import sys
import sysconfig
from typing import Any

from . import device
from .protocol import Message

Answer = tuple[Message, bytes]


def inspect(request: Message) -> Answer:
    """Answer what a user asks before a run.

    The request names `processor`, `modules` (top-level names to look for, found without importing them) and
    `with_torch` (whether to import torch and name every GPU, which takes seconds).
    """
    content: dict[str, Any] = {
        "python": sys.version.split()[0],
        "executable": sys.executable,
        "modules": {name: _module(name) for name in request["modules"]},
        "torch": None,
        "cuda": None,
        "gpus": [],
        "torch_error": "",
    }
    if request["with_torch"]:
        content.update(_torch())
    try:
        content["device"] = device.choose(request["processor"], 0).as_message()
        content["device_error"] = ""
    except device.DeviceError as error:
        content["device"], content["device_error"] = None, str(error)
    return content, b""


def _module(name: str) -> dict[str, Any]:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return {"found": False, "standard": False, "version": None}
    return {"found": True, "standard": _is_standard(spec.origin), "version": _version(name)}


def _is_standard(origin: str | None) -> bool:
    if origin in ("built-in", "frozen"):
        return True
    folder = sysconfig.get_paths()["stdlib"]
    return bool(origin) and str(origin).startswith(folder + os.sep) and "-packages" not in str(origin)


def _version(name: str) -> str | None:
    names = [name]
    if hasattr(importlib.metadata, "packages_distributions"):
        names = importlib.metadata.packages_distributions().get(name, names)
    for distribution in names:
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _torch() -> dict[str, Any]:
    try:
        import torch
    except Exception as error:  # noqa: BLE001 - a broken library raises anything
        return {"torch_error": f"{type(error).__name__}: {error}"}
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return {
        "torch": torch.__version__,
        "cuda": torch.version.cuda or getattr(torch.version, "hip", None),
        "gpus": [torch.cuda.get_device_name(number) for number in range(count)],
    }

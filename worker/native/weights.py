"""Opens weights without running anything that a file may hold, and puts them into a network, all or none.

The file is a state dict of torch, or fastai 1's {'model': …, 'opt': …} (ARCGIS_LEARN 2).
"""

from __future__ import annotations

import contextlib
import math
import pickle  # nosec B403 - nothing but the class of its errors
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from .errors import NativeError, first_line

State = dict[str, torch.Tensor]
PREFIX = "module."
"""Before every name, where several GPUs trained."""
MOST_VALUES = 4_000_000_000
"""Of all tensors together: a network larger than this is none of those that are known here."""
SHOWN = 5
KINDS = ("Float64", "Float32", "Int64", "Int32", "Bool")
"""Types of numpy that an optimizer's numbers have."""
STANDS_IN = (2, 6)
"""The first torch that lets one thing stand for another while it reads."""
SAFE_TORCH = (2, 10)
"""Before it, files could run code or spoil memory although weights_only was asked for (CVE-2025-32434, CVE-2026-24747)."""


def read_weights(path: str, is_contained: bool = True) -> State:
    """The tensors of a file by their names, on the CPU.

    Args:
        path: The file.
        is_contained: Whether harm is prevented otherwise: a sandbox is around this process, or the user trusts the package.

    Raises:
        NativeError: It holds anything but tensors and plain values, is damaged, or is no state dict; or this torch is
            known to have holes in its reader, and nothing else is in the way.
    """
    if not is_contained and _version() < SAFE_TORCH:
        raise NativeError(
            f"The weights {path} are a stranger's, and torch {torch.__version__} has known holes in how it reads them. Update "
            f"torch to {'.'.join(map(str, SAFE_TORCH))} or newer, use a sandbox, or trust the package: run dlpk:inspectpackage "
            "on it with TRUST switched on."
        )
    try:
        with _optimizers_numbers():
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError, OSError, AttributeError, TypeError, IndexError,
            AssertionError, OverflowError, RecursionError, ImportError) as error:  # fmt: skip
        raise NativeError(
            f"The weights {path} cannot be read as plain tensors ({first_line(error)}). A file that holds more than tensors "
            "could run code, so it is not opened; a damaged one has to be fetched again."
        ) from error
    return _tensors(content, path)


class _Ignored:
    """Stands for what numpy would make of an optimizer's numbers, which nobody needs here: no code of numpy runs."""

    def __init__(self, *_: object) -> None:
        """Take anything."""

    def __setstate__(self, state: object) -> None:
        """Take no state."""


def _optimizers_numbers() -> contextlib.AbstractContextManager[object]:
    """Let a file hold numbers of numpy, as fastai 1 leaves them in the state of an optimizer; torch 2.6 and newer can."""
    if _version() < STANDS_IN:
        return contextlib.nullcontext()
    modules = ("numpy.core.multiarray", "numpy._core.multiarray")
    names = [*(f"{module}.scalar" for module in modules), "numpy.dtype", *(f"numpy.dtypes.{kind}DType" for kind in KINDS)]
    allowed: contextlib.AbstractContextManager[object] = torch.serialization.safe_globals([(_Ignored, name) for name in names])
    return allowed


def load(network: nn.Module, state: State, path: str) -> None:
    """Put all weights into a network, name by name.

    Raises:
        NativeError: Names are missing or left over, or shapes differ.
    """
    wanted = network.state_dict()
    missing = [name for name in wanted if name not in state and not name.endswith("num_batches_tracked")]
    surplus = [name for name in state if name not in wanted and not name.endswith("num_batches_tracked")]
    shapes = [f"{name} {_shape(state[name])} instead of {_shape(wanted[name])}"
              for name in wanted if name in state and state[name].shape != wanted[name].shape]  # fmt: skip
    if missing or surplus or shapes:
        raise NativeError(_mismatch(path, missing, surplus, shapes))
    # Counters tell what training saw; nothing reads them.
    counters = {name: wanted[name] for name in wanted if name not in state}
    kept = {name: tensor for name, tensor in state.items() if name in wanted}
    network.load_state_dict({**kept, **counters}, strict=True)


def shape_of(state: Mapping[str, Any], name: str, dimensions: int, path: str) -> tuple[int, ...]:
    """The shape of a tensor that tells how a network is built.

    Raises:
        NativeError: There is none of that name, or it has not so many dimensions.
    """
    if name not in state:
        raise NativeError(_mismatch(path, [name], [], []))
    if state[name].ndim != dimensions:
        raise NativeError(_mismatch(path, [], [], [f"{name} {_shape(state[name])} instead of {dimensions} dimensions"]))
    return tuple(state[name].shape)


def _version() -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])


def _tensors(content: object, path: str) -> State:
    inner = content.get("model", content) if isinstance(content, Mapping) else content
    if not isinstance(inner, Mapping) or not inner or not all(_is_weight(*entry) for entry in inner.items()):
        raise NativeError(f"The weights {path} are no state dict: names with tensors. Ask who made the package for its weights.")
    names = list(inner)
    cut = len(PREFIX) if all(name.startswith(PREFIX) for name in names) else 0
    state = {name[cut:]: inner[name] for name in names}
    values = sum(math.prod(tensor.shape) for tensor in state.values())
    if values > MOST_VALUES:
        raise NativeError(f"The weights {path} have {values:,} numbers, more than any network that is known here.")
    return state


def _is_weight(name: object, tensor: object) -> bool:
    return (
        isinstance(name, str) and isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided and not tensor.is_complex()
    )


def _mismatch(path: str, missing: list[str], surplus: list[str], shapes: list[str]) -> str:
    parts = [
        f"{len(names)} {label}: {', '.join(names[:SHOWN])}{', …' if len(names) > SHOWN else ''}"
        for label, names in (("missing", missing), ("not part of it", surplus), ("of another shape", shapes))
        if names
    ]
    return (
        f"The weights {path} do not fit the network that the model definition names ({'; '.join(parts)}). Nothing is guessed. "
        "If ArcGIS runs this package, please report it; where the inference Python has Esri's library arcgis, "
        "ARCGIS_TRAINED=PACKAGE runs it by that."
    )


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "()"

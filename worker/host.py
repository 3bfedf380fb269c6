"""Hosts one raster function: calls it in the contract's order and hands it writable blocks.

CONTRACT.md 3.1 (order of calls), 3.4 (blocks), 3.5 (what vectorize answers).
"""

from __future__ import annotations

import json
import mmap
import os
import queue
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from . import device, limits, shims
from .contract import ContractError
from .loader import create_function
from .native import families
from .plain import plain
from .protocol import Message, mask_offset

if TYPE_CHECKING:
    from numpy.typing import NDArray

Block = tuple["NDArray[Any]", "NDArray[Any]"]
Prepared = Union["list[Block]", Exception]


LONGEST_PROBLEM = 1000
"""Characters of a message about an answer."""


class FunctionHost:
    """One raster function from `open` to the last `vectorize`.

    Attributes:
        step: What the function is doing, for the message when it fails.
        network: The plugin's own network that is the function; empty where the package's code is.
    """

    def __init__(self) -> None:
        self.step = self.network = ""
        self._function: Any = None
        self._rasters = "raster"
        self._memory: mmap.mmap | None = None
        self._prepared: queue.SimpleQueue[Prepared] = queue.SimpleQueue()
        self._slot_bytes = 0

    def open(self, request: Message) -> tuple[Message, bytes]:
        """Choose the device, load the package's function, initialise it and ask for its parameters.

        The request names `function` (path of the .py, or the name of a built-in wrapper), `definition`
        (absolute path of the .emd), `processor` and `gpu`, `values` (the user's own, as strings), `limits`, and whether the
        process is `contained`: in a sandbox, or the package trusted.
        """
        began = time.perf_counter()
        self.step = "device"
        chosen = device.choose(request["processor"], request["gpu"])
        limits.apply(request["limits"], with_memory=chosen.index < 0)  # drivers of GPUs map far more than they use
        self.step, self.network = "import", families.network_of(request["function"])
        if not self.network:
            shims.install(chosen, request.get("framework") or "")
        imported_at = time.perf_counter()
        self._function = create_function(request["function"], request["definition"], request["contained"])
        self.step = "initialize()"
        self._function.initialize(**{**request["values"], "model": request["definition"], "device": chosen.index})
        self.step = "getParameterInfo()"
        parameters = [plain(entry) for entry in self._function.getParameterInfo() or []]
        if parameters and isinstance(parameters[0], dict) and parameters[0].get("dataType") in ("raster", "rasters"):
            self._rasters = str(parameters[0]["name"])
        content = {
            "parameters": parameters,
            "device": chosen.as_message(),
            "name": str(getattr(self._function, "name", type(self._function).__name__)),
            "seconds": {"device": imported_at - began, "function": time.perf_counter() - imported_at},
        }
        return content, b""

    def configure(self, request: Message) -> tuple[Message, bytes]:
        """Hand over the values of all arguments (strings); fields and geometry are asked for afterwards."""
        scalars = {**request["scalars"], "model": request["definition"], "device": request["device"]}
        self.step = "getConfiguration()"
        configuration = plain(self._function.getConfiguration(**scalars))
        self.step = "getFields()"
        fields = self._function.getFields()
        fields = plain(json.loads(fields) if isinstance(fields, (str, bytes)) else fields)
        self.step = "getGeometryType()"
        geometry_type = plain(self._function.getGeometryType())
        return {"configuration": configuration, "fields": fields, "geometry_type": geometry_type}, b""

    def share(self, request: Message) -> tuple[Message, bytes]:
        """Map the slots: an inherited descriptor, or a file where descriptors are not inherited."""
        descriptor = request["descriptor"]
        if descriptor is None:
            descriptor = os.open(request["path"], os.O_RDWR | getattr(os, "O_BINARY", 0))
        self._memory = mmap.mmap(descriptor, request["bytes"], access=mmap.ACCESS_READ)
        self._slot_bytes = request["slot_bytes"]
        return {}, b""

    def prepare(self, request: Message) -> None:
        """Copy the arrays of a request out of their slot; called in another thread while the function is busy."""
        try:
            self._prepared.put([block for run in request["runs"] for block in self._blocks(request["slot"], run)])
        except Exception as error:  # noqa: BLE001 - it is raised where the block is asked for
            self._prepared.put(error)

    def vectorize(self, request: Message) -> tuple[Message, bytes]:
        """Run the function on what was prepared last: one block, or chips in batches where the request tells a `batch`.

        The payload is its feature set, JSON text in UTF-8; for chips one after another, with `answers` telling of each
        how many chips it is about, how many bytes it takes, and what was wrong with it.
        """
        prepared = self._prepared.get()
        if isinstance(prepared, Exception):
            raise prepared
        self.step = "vectorize()"
        began = time.perf_counter()
        if request["batch"] is None:
            pixels, mask = prepared[0]
            content: Message = {}
            payload = self._answer({f"{self._rasters}_pixels": pixels, f"{self._rasters}_mask": mask})
        else:
            content, payload = self._classified(prepared, request["batch"])
        return {"seconds": time.perf_counter() - began, **content}, payload

    def _answer(self, blocks: dict[str, Any]) -> bytes:
        return _feature_set(self._function.vectorize(**blocks))

    def _classified(self, chips: list[Block], batch: int) -> tuple[Message, bytes]:
        answers, texts = [], []
        for group in _batches(chips, batch):
            text, problem = b"", ""
            try:
                text = self._answer(self._tuples(group))
            except ContractError as error:  # costs this batch its labels, and no other
                problem = str(error)
            answers.append([len(group), len(text), problem])
            texts.append(text)
        return {"answers": answers}, b"".join(texts)

    def _tuples(self, chips: Sequence[Block]) -> dict[str, Any]:
        """One array a feature; some functions ask for the first of them by itself too (CONTRACT 3.6)."""
        pixels, masks = tuple(chip[0] for chip in chips), tuple(chip[1] for chip in chips)
        named = {f"{self._rasters}_pixels": pixels, f"{self._rasters}_mask": masks}
        return {
            **named, "raster_pixels": pixels[0], "raster_mask": masks[0], "rasters_pixels": pixels, "rasters_mask": masks,
        }  # fmt: skip

    def _blocks(self, slot: int, run: Message) -> Iterator[Block]:
        """Copy arrays that lie at equal distances out of their slot: pixels (bands, height, width) and mask, uint8 alike."""
        if self._memory is None:
            raise ContractError("a block came before the slots")
        shape, start = (run["count"], *run["shape"]), slot * self._slot_bytes + run["offset"]
        pixels = self._array(shape, np.dtype(run["dtype"]), start, run["step"]).copy()
        masks = np.ones(shape, np.uint8)
        if run["mask_bands"]:
            begin = start + mask_offset(pixels[0].nbytes)
            masks[:] = self._array((shape[0], run["mask_bands"], *shape[2:]), np.dtype(np.uint8), begin, run["step"])
        return zip(pixels, masks)

    def _array(self, shape: tuple[int, ...], dtype: np.dtype[Any], start: int, step: int) -> NDArray[Any]:
        """A view of arrays in the slots, the begins of which are `step` bytes apart."""
        strides = [dtype.itemsize]
        for length in reversed(shape[2:]):
            strides.insert(0, strides[0] * length)
        return np.ndarray(shape, dtype, self._memory, start, (step, *strides))


def _batches(chips: list[Block], size: int) -> Iterator[list[Block]]:
    """Chips that follow each other and have one shape and dtype, so many at a time: functions stack them (CONTRACT 3.6)."""
    for _, alike in groupby(chips, key=lambda chip: (chip[0].shape, chip[0].dtype)):
        group = list(alike)
        for start in range(0, len(group), size):
            yield group[start : start + size]


def _feature_set(answer: object) -> bytes:
    """The JSON text of what vectorize answered (CONTRACT 3.5)."""
    if answer is None:
        raise ContractError("vectorize() returned nothing (None) instead of {'output_vectors': …}")
    if not isinstance(answer, dict) or "output_vectors" not in answer:
        found = f"the keys {sorted(map(str, answer))}"[:LONGEST_PROBLEM] if isinstance(answer, dict) else type(answer).__name__
        raise ContractError(f"vectorize() must return a dict with 'output_vectors', but it returned {found}")
    vectors = answer["output_vectors"]
    if isinstance(vectors, bytes):
        return vectors
    try:
        return (vectors if isinstance(vectors, str) else json.dumps(plain(vectors))).encode()
    except UnicodeEncodeError as error:
        raise ContractError(f"the feature set that vectorize() returned is no text: {error}") from error

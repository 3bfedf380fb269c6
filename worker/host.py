"""Hosts one raster function: calls it in the contract's order and hands it writable blocks.

CONTRACT.md 3.1 (order of calls), 3.4 (blocks), 3.5 (what vectorize answers).
"""

from __future__ import annotations

import json
import mmap
import os
import queue
import time
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from . import device, limits, shims
from .loader import create_function
from .plain import plain
from .protocol import Message, mask_offset

if TYPE_CHECKING:
    from numpy.typing import NDArray

Block = tuple["NDArray[Any]", "NDArray[Any]"]
Prepared = Union[Block, Exception]


class ContractError(Exception):
    """The raster function answered something that the contract does not allow."""


class FunctionHost:
    """One raster function from `open` to the last `vectorize`.

    Attributes:
        step: What the package's code is doing, for the message when it fails.
    """

    def __init__(self) -> None:
        self.step = ""
        self._function: Any = None
        self._rasters = "raster"
        self._memory: mmap.mmap | None = None
        self._prepared: queue.SimpleQueue[Prepared] = queue.SimpleQueue()
        self._slot_bytes = 0

    def open(self, request: Message) -> tuple[Message, bytes]:
        """Choose the device, load the package's function, initialise it and ask for its parameters.

        The request names `function` (path of the .py, or the name of a built-in wrapper), `definition`
        (absolute path of the .emd), `processor` and `gpu`, `values` (the user's own, as strings) and `limits`.
        """
        began = time.perf_counter()
        self.step = "device"
        chosen = device.choose(request["processor"], request["gpu"])
        limits.apply(request["limits"], with_memory=chosen.index < 0)  # drivers of GPUs map far more than they use
        shims.install(chosen, request.get("framework") or "")
        imported_at = time.perf_counter()
        self.step = "import"
        self._function = create_function(request["function"], request["definition"])
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
        """Copy the block of a request out of its slot; called in another thread while the function is busy."""
        try:
            self._prepared.put(self._block(request))
        except Exception as error:  # noqa: BLE001 - it is raised where the block is asked for
            self._prepared.put(error)

    def vectorize(self, request: Message) -> tuple[Message, bytes]:  # noqa: ARG002 - `prepare` has read it
        """Run the function on the next prepared block; the payload is its feature set, JSON text in UTF-8."""
        prepared = self._prepared.get()
        if isinstance(prepared, Exception):
            raise prepared
        pixels, mask = prepared
        self.step = "vectorize()"
        began = time.perf_counter()
        answer = self._function.vectorize(**{f"{self._rasters}_pixels": pixels, f"{self._rasters}_mask": mask})
        seconds = time.perf_counter() - began
        return {"seconds": seconds}, _feature_set(answer)

    def _block(self, request: Message) -> Block:
        """Copy a block out of its slot: pixels (bands, height, width) in their own dtype, mask uint8 alike."""
        if self._memory is None:
            raise ContractError("a block came before the slots")
        shape, dtype = tuple(request["shape"]), np.dtype(request["dtype"])
        start, count = request["slot"] * self._slot_bytes, int(np.prod(shape))
        pixels = np.frombuffer(self._memory, dtype, count, start).reshape(shape).copy()
        mask = np.ones(shape, np.uint8)
        if request["mask_bands"]:
            mask_shape = (request["mask_bands"], *shape[1:])
            begin = start + mask_offset(pixels.nbytes)
            mask[:] = np.frombuffer(self._memory, np.uint8, int(np.prod(mask_shape)), begin).reshape(mask_shape)
        return pixels, mask


def _feature_set(answer: object) -> bytes:
    """The JSON text of what vectorize answered (CONTRACT 3.5)."""
    if answer is None:
        raise ContractError("vectorize() returned nothing (None) instead of {'output_vectors': …}")
    if not isinstance(answer, dict) or "output_vectors" not in answer:
        found = f"the keys {sorted(map(str, answer))}" if isinstance(answer, dict) else type(answer).__name__
        raise ContractError(f"vectorize() must return a dict with 'output_vectors', but it returned {found}")
    vectors = answer["output_vectors"]
    if isinstance(vectors, bytes):
        return vectors
    return (vectors if isinstance(vectors, str) else json.dumps(plain(vectors))).encode()

"""What to do when memory runs out: the same function with a smaller batch, whose blocks divide the present ones exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .blocks import divides
from .configuration import Configuration
from .errors import ConfigurationError, OutOfMemoryError
from .raster_function import RasterFunction
from .translation import tr

BATCH_SIZE = "batch_size"
"""The argument that tells how many inputs of the network a block holds (CONTRACT 3.4)."""
BATCH_SIZES = (4096, 1024, 256, 64, 16, 4, 1)
"""Each quarters a block of the one before."""
HALVES = tuple(2**power for power in range(12, -1, -1))
"""For chips, of which a block holds any number."""


def smaller_configuration(
    function: RasterFunction, scalars: Mapping[str, str], present: Configuration, error: OutOfMemoryError
) -> tuple[Configuration, str]:
    """Restart a function with the next smaller square batch.

    Args:
        function: The function; it runs with that batch afterwards.
        scalars: The values that it had.
        present: The configuration that it had.
        error: How memory ran out.

    Returns:
        Its new configuration, and the new batch_size.

    Raises:
        OutOfMemoryError: There is no smaller one.
    """
    advice = tr("Choose a smaller batch_size or tile size, or another device.")
    stopped = OutOfMemoryError(f"{error} {advice}", error.details)
    try:
        current = present.batch or int(scalars.get(BATCH_SIZE, "1"))
    except ValueError:
        raise stopped from error
    sizes = BATCH_SIZES if present.batch is None else HALVES
    for batch in (str(size) for size in sizes if size < current):
        candidate = with_batch(function, scalars, present, batch)
        if candidate is not None:
            return candidate, batch
    raise stopped


def with_batch(function: RasterFunction, scalars: Mapping[str, str], present: Configuration, batch: str) -> Configuration | None:
    """Restart a function with this batch_size; None when its blocks do not divide the present ones exactly."""
    function.kill()
    try:
        candidate = function.restart({**scalars, BATCH_SIZE: batch}).configuration
    except ConfigurationError:
        return None
    candidate = replace(candidate, data_range=present.data_range)
    if present.batch is not None:
        size = min(candidate.crop.batch_size, int(batch))
        candidate = replace(present, crop=replace(candidate.crop, batch_size=size))
    return candidate if divides(candidate, present) else None

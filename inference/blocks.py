"""Cuts the processing extent into blocks: one request to the raster function each (CONTRACT 3.4)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from .configuration import Configuration
from .grid import Window

BAND = 2
"""Rows of blocks that are read together."""


@dataclass(frozen=True)
class Block:
    """One request to the raster function.

    Attributes:
        core: Pixels of the grid that this block answers for; may reach beyond the raster.
        padding: Pixels that the function sees beyond the core, on each side.
        item: The raster that it is a part of, by its place among those of the run.
    """

    core: Window
    padding: int
    item: int = 0

    @property
    def window(self) -> Window:
        """All pixels that the function sees; x = y = 0 of its answers is the core's first pixel."""
        grown = 2 * self.padding
        return Window(
            self.core.column - self.padding, self.core.row - self.padding, self.core.width + grown, self.core.height + grown
        )

    @property
    def key(self) -> tuple[int, int, int]:
        """What tells blocks apart and orders them: the item, and row and column of the first pixel of the core."""
        return self.item, self.core.row, self.core.column

    def split(self, configuration: Configuration, extent: Window) -> list[Block]:
        """The same pixels as smaller blocks; those beyond the extent are left out.

        Args:
            configuration: Its core size divides this block's exactly (see `divides`).
            extent: The pixels to process.
        """
        rows = range(self.core.row, self.core.row + self.core.height, configuration.height)
        columns = range(self.core.column, self.core.column + self.core.width, configuration.width)
        cores = [Window(column, row, configuration.width, configuration.height) for row in rows for column in columns]
        return [Block(core, configuration.padding, self.item) for core in cores if core.intersection(extent)]


@dataclass(frozen=True)
class BlockGrid:
    """Blocks of one size that cover an extent, from its top left pixel on, in bands of a few rows.

    Within a band they go column by column: blocks that share pixels follow each other, and are decoded once.
    """

    extent: Window
    configuration: Configuration
    item: int = 0

    @property
    def columns(self) -> int:
        """Blocks in a row."""
        return -(-self.extent.width // self.configuration.width)

    @property
    def rows(self) -> int:
        """Rows of blocks."""
        return -(-self.extent.height // self.configuration.height)

    def __len__(self) -> int:
        return self.rows * self.columns

    def __iter__(self) -> Iterator[Block]:
        width, height = self.configuration.width, self.configuration.height
        places = ((row, column) for band in range(0, self.rows, BAND) for column in range(self.columns)
                  for row in range(band, min(band + BAND, self.rows)))  # fmt: skip
        for row, column in places:
            core = Window(self.extent.column + column * width, self.extent.row + row * height, width, height)
            yield Block(core, self.configuration.padding, self.item)


@dataclass(frozen=True)
class Blocks:
    """The blocks of all rasters of a run, one raster after another.

    Attributes:
        extents: The pixels to search of each raster.
        configuration: How blocks are cut.
    """

    extents: tuple[Window, ...]
    configuration: Configuration

    def __len__(self) -> int:
        return sum(map(len, self._grids()))

    @property
    def pixels(self) -> int:
        """How many there are to search; a chip counts as one."""
        return sum(extent.pixels for extent in self.extents)

    def __iter__(self) -> Iterator[Block]:
        return itertools.chain.from_iterable(self._grids())

    def inside(self, block: Block) -> Window:
        """The pixels of a block's core that are to be searched."""
        within = block.core.intersection(self.extents[block.item])
        return within or Window(block.core.column, block.core.row, 0, 0)

    def split(self, block: Block, configuration: Configuration) -> list[Block]:
        """The same pixels as smaller blocks (see Block.split)."""
        return block.split(configuration, self.extents[block.item])

    def _grids(self) -> Iterator[BlockGrid]:
        return (BlockGrid(extent, self.configuration, item) for item, extent in enumerate(self.extents))


def divides(smaller: Configuration, larger: Configuration) -> bool:
    """Whether blocks of the larger configuration split exactly into several of the smaller one; chips always do."""
    if larger.in_chips:
        return smaller.crop.batch_size < larger.crop.batch_size
    fewer = smaller.width * smaller.height < larger.width * larger.height
    exact = larger.width % smaller.width == 0 and larger.height % smaller.height == 0
    return fewer and exact and smaller.padding == larger.padding and smaller.bands == larger.bands

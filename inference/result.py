"""What every run leaves, whatever it did."""

from __future__ import annotations

from dataclasses import dataclass

from .driving import Driven
from .journal import Journal
from .pipeline import Statistics
from .raster_function import Device


@dataclass(frozen=True)
class RunResult:
    """A finished run; can be read until the run's context ends.

    Attributes:
        driven: What driving it has left.
        seconds: How long each part of the run took, by its name.
    """

    driven: Driven
    seconds: dict[str, float]
    _journal: Journal

    @property
    def statistics(self) -> Statistics:
        """What the run did."""
        return self.driven.statistics

    @property
    def device(self) -> Device:
        """Where the network ran."""
        return self.driven.device

    @property
    def values(self) -> dict[str, str]:
        """The values of all arguments, as text."""
        return self.driven.values

    @property
    def bands(self) -> tuple[int, ...]:
        """Those that the model reads, from 0."""
        return self.driven.bands

    def settle(self) -> None:
        """Tell that the output is written and closed: what the run has kept is not needed any more."""
        self._journal.remove()

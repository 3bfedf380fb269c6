"""Loads the part of the engine that needs shapely 2, which not every QGIS has."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from ..inference.errors import InferenceError
from ..inference.feedback import Feedback
from ..inference.plan import InferencePlan
from ..inference.translation import tr

if TYPE_CHECKING:
    from ..inference.run import Result

LEAST_SHAPELY = 2

RunPlan = Callable[[InferencePlan, Feedback], AbstractContextManager["Result"]]


def load_engine() -> RunPlan:
    """The engine's `run_plan`; raises as `check_shapely` does."""
    check_shapely()
    from ..inference.run import run_plan

    return run_plan


def check_shapely() -> None:
    """Refuse to go on without shapely 2.

    Raises:
        InferenceError: shapely is missing or too old.
    """
    try:
        import shapely

        found = str(shapely.__version__)
    except ImportError:
        found = ""
    if not found or int(found.split(".")[0]) < LEAST_SHAPELY:
        raise InferenceError(
            tr(
                "The Python library shapely 2 is needed in QGIS's own Python, which has {found}. Install it there, or start "
                'QGIS with PYTHONPATH set to a FOLDER: python3 -m pip install --target FOLDER --no-deps "shapely==2.0.*"',
                found=tr("version {version}", version=found) if found else tr("none"),
            )
        )

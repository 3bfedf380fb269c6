"""What the algorithms that run a package have in common: checks before any work, the run, the layer that comes out."""

from __future__ import annotations

import math
from abc import abstractmethod
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from qgis.core import QgsProcessingContext, QgsProcessingException, QgsProcessingFeedback

from ..inference.arcgis_trained import chosen
from ..inference.arguments import parse_values
from ..inference.errors import InferenceError
from ..inference.item import Item
from ..inference.plan import InferencePlan
from ..inference.secrets import without_credentials
from ..inference.translation import tr
from . import consent, model_input, settings
from . import parameters as shared
from .addresses import WritesAddressesDown
from .area import Area
from .failure import check_number, reported
from .finishing import Finishing
from .items import opened
from .output import why_not_writable
from .rasters.from_value import evaluated, raster_from_value
from .rasters.raster_input import RasterInput, Wish
from .secret_values import resolved
from .task import InferenceTask, TaskFeedback, interruptible


@dataclass(frozen=True)
class Call:
    """One execution: what the user gave, and what lives as long as it.

    Attributes:
        parameters, context, feedback: Of Processing.
        told: The engine's feedback over it.
        stack: Closes what was opened.
    """

    parameters: dict[str, Any]
    context: QgsProcessingContext
    feedback: QgsProcessingFeedback
    told: TaskFeedback
    stack: ExitStack


class PackageAlgorithm(WritesAddressesDown):
    """An algorithm that runs a package over rasters; a subclass tells its further parameters, its plan, its output."""

    INPUT = "INPUT"
    MODEL = "MODEL"
    ARGUMENTS = "ARGUMENTS"
    PROCESSING_MODE = "PROCESSING_MODE"
    EXTENT = "EXTENT"
    MASK = "MASK"
    CELL_SIZE = "CELL_SIZE"
    UNSCALE = "UNSCALE"
    MAX_MISSING = "MAX_MISSING"
    AUTHCFG = "AUTHCFG"
    ARCGIS_TRAINED = "ARCGIS_TRAINED"
    PROCESSOR = "PROCESSOR"
    RESTART = "RESTART"
    OUTPUT = "OUTPUT"
    REPORT = "REPORT"
    RANGES: dict[str, tuple[float, float]] = {CELL_SIZE: (0.0, math.inf), MAX_MISSING: (0.0, 100.0)}  # noqa: RUF012 - of the class
    """Smallest and largest value of numbers."""
    CHECKED_HERE = (INPUT,)
    """Parameters that take more than their stock types would accept."""

    def __init__(self) -> None:
        super().__init__()
        self._rasters: RasterInput | None = None
        self._finishing: tuple[Finishing, str] | None = None

    @abstractmethod
    def _plan(self, call: Call) -> InferencePlan:
        """The plan of a run."""

    @abstractmethod
    def _written(self, call: Call, plan: InferencePlan, task: InferenceTask) -> tuple[Finishing, dict[str, Any]]:
        """Write what a run has found; what is left to do in the main thread, and the results."""

    def _model_parameters(self) -> list[Any]:
        """Raster, package and its arguments."""
        siblings = {
            "model": self.MODEL, "raster": self.INPUT, "cell_size": self.CELL_SIZE, "processor": self.PROCESSOR,
            "arcgis_trained": self.ARCGIS_TRAINED,
        }  # fmt: skip
        return [shared.raster(self.INPUT), shared.package(self.MODEL), shared.arguments(self.ARGUMENTS, **siblings)]

    def _run_parameters(self) -> list[Any]:
        """What is looked at, and how."""
        return [
            shared.processing_mode(self.PROCESSING_MODE),
            shared.extent(self.EXTENT),
            shared.mask(self.MASK),
            shared.cell_size(self.CELL_SIZE),
            shared.unscale(self.UNSCALE),
            shared.maximum_missing(self.MAX_MISSING),
            shared.authentication(self.AUTHCFG),
            shared.arcgis_trained(self.ARCGIS_TRAINED),
            shared.processor(self.PROCESSOR),
            shared.restart(self.RESTART),
        ]

    def checkParameterValues(self, parameters: dict[str, Any], context: QgsProcessingContext) -> tuple[bool, str]:
        """All checks that need no code of the package."""
        try:
            self._check(parameters, context)
        except (InferenceError, QgsProcessingException) as error:
            return False, without_credentials(str(error))
        return True, ""

    def _check(self, parameters: dict[str, Any], context: QgsProcessingContext) -> None:
        """Raise what is wrong; called also where Processing calls no checkParameterValues, as for a child of a model."""
        self._raster_input(parameters, context)
        model_input.check(self.parameterAsFile(parameters, self.MODEL, context))
        parse_values(evaluated(parameters.get(self.ARGUMENTS), context))
        for name, (low, high) in self.RANGES.items():
            check_number(self.parameterDefinition(name), low, high, evaluated(parameters.get(name), context))
        for definition in self.parameterDefinitions():
            value = parameters.get(definition.name())
            if definition.name() not in self.CHECKED_HERE and not definition.checkValueIsAcceptable(value, context):
                raise QgsProcessingException(
                    tr("The value {value} of {name} ({id}) cannot be used.", value=value, name=definition.description(),
                       id=definition.name())
                )  # fmt: skip
        for name in (self.OUTPUT, self.REPORT):
            if reason := why_not_writable(parameters.get(name)):
                raise QgsProcessingException(reason)

    def _raster_input(self, parameters: dict[str, Any], context: QgsProcessingContext) -> RasterInput:
        return raster_from_value(parameters.get(self.INPUT), context, self.parameterAsString(parameters, self.AUTHCFG, context))

    def prepareAlgorithm(
        self,
        parameters: dict[str, Any],
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,  # noqa: ARG002
    ) -> bool:
        """Resolve layers, which only the main thread may do."""
        try:
            self._check(parameters, context)
            self._rasters = self._raster_input(parameters, context)
        except InferenceError as error:
            raise QgsProcessingException(without_credentials(str(error))) from error
        return True

    def processAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Run the plan and write what it found."""
        with interruptible(feedback), ExitStack() as stack:
            try:
                call = Call(parameters, context, feedback, TaskFeedback(feedback), stack)
                plan = self._plan(call)
                task = InferenceTask(plan, feedback)
                stack.callback(task.close)
                task.run()
                if task.error is not None:
                    raise task.error
                finishing, results = self._written(call, plan, task)
                self._finishing = finishing, results[self.OUTPUT]
                return results
            except QgsProcessingException:
                raise
            except Exception as error:
                raise reported(error, feedback) from error

    def _plan_of(self, call: Call, items: tuple[Item, ...], **further: Any) -> InferencePlan:  # noqa: ANN401 - fields of the plan
        """The plan for opened rasters; opened first, as a package may be large to download."""
        parameters, context = call.parameters, call.context
        options = settings.load()
        values, secrets = resolved(parse_values(evaluated(parameters.get(self.ARGUMENTS), context)))
        authcfg = self.parameterAsString(parameters, self.AUTHCFG, context)
        package = model_input.opened(self.parameterAsFile(parameters, self.MODEL, context), authcfg, call.told)
        package = chosen(package, self.parameterAsEnumString(parameters, self.ARCGIS_TRAINED, context))
        hosting = settings.hosting(self.parameterAsEnumString(parameters, self.PROCESSOR, context), options)
        return InferencePlan(
            package=package,
            values=values,
            secrets=secrets,
            items=items,
            hosting=consent.allowed(package, hosting, call.told),
            workers=options.workers or None,
            restart=self.parameterAsBoolean(parameters, self.RESTART, context),
            names_items=self._is_separate(call),
            max_missing=self.parameterAsDouble(parameters, self.MAX_MISSING, context) / 100,
            **further,
        )

    def _items(self, call: Call, **wishes: bool) -> tuple[Item, ...]:
        """Open the rasters.

        Args:
            call: Tells which.
            wishes: Further fields of the Wish.
        """
        parameters, context = call.parameters, call.context
        cell_size = self.parameterAsDouble(parameters, self.CELL_SIZE, context)
        unscale = self.parameterAsBoolean(parameters, self.UNSCALE, context)
        area = Area.of(self, parameters, self.EXTENT, self.MASK, context)
        wishes = {"separately": self._is_separate(call), **wishes}
        wish = Wish(call.told, cell_size if cell_size > 0 else None, area.bounds_in, unscale=unscale, **wishes)
        return opened(self._rasters, wish, area, call.stack)

    def _is_separate(self, call: Call) -> bool:
        return bool(self.parameterAsEnumString(call.parameters, self.PROCESSING_MODE, call.context) == shared.SEPARATELY)

    def postProcessAlgorithm(self, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> dict[str, Any]:
        """Style the layer; runs in the main thread, when the output is closed."""
        if self._finishing is not None:
            finishing, destination = self._finishing
            finishing.apply(destination, context, feedback)
        return {}

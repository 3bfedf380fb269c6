"""Inspect Deep Learning Package: what is in a .dlpk, which arguments it takes, and whether it can run here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingOutputString,
    QgsProcessingOutputVariant,
    QgsProcessingParameterBoolean,
)
from qgis.PyQt.QtGui import QIcon

from ..inference.errors import InferenceError
from ..inference.inspection import Inspection, inspect_package
from ..inference.package import Package
from ..inference.raster_function import Hosting
from ..inference.translation import tr
from . import consent, model_input, settings, trusted
from . import parameters as shared
from .failure import reported
from .inspection_page import page
from .output import why_not_writable
from .task import TaskFeedback, interruptible

ICON = Path(__file__).parent.parent / "resources" / "icons" / "inspect_package.svg"


class InspectPackage(QgsProcessingAlgorithm):
    """dlpk:inspectpackage."""

    MODEL = "MODEL"
    ARCGIS_TRAINED = "ARCGIS_TRAINED"
    AUTHCFG = "AUTHCFG"
    RUN_CODE = "RUN_CODE"
    TRUST = "TRUST"
    OUTPUT_HTML = "OUTPUT_HTML"

    def createInstance(self) -> InspectPackage:
        return InspectPackage()

    def name(self) -> str:
        return "inspectpackage"

    def displayName(self) -> str:
        return tr("Inspect deep learning package")

    def icon(self) -> QIcon:
        return QIcon(str(ICON))

    def tags(self) -> list[str]:
        return tr("dlpk,emd,arcgis,deep learning,arguments,model,classes,requirements,information").split(",")

    def helpUrl(self) -> str:
        return shared.manual("inspect.md")

    def shortDescription(self) -> str:
        return tr("Lists a deep learning package's arguments, classes and requirements, and says whether it can run here.")

    def shortHelpString(self) -> str:
        return tr(
            "Tells what a deep learning package (.dlpk) holds: its model definition, the classes with their colours, the "
            "arguments of the model with defaults, limits and descriptions, the Python libraries that it imports and "
            "whether the inference Python has them, the device that would be used, and the package's sha256.\n\n"
            "The arguments are declared by the package's own program, so it has to be run to learn them. With RUN_CODE off "
            "nothing of the package runs, and no library such as torch is needed."
        )

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        self.addParameter(shared.package(self.MODEL))
        run_code = QgsProcessingParameterBoolean(self.RUN_CODE, tr("Run the package's code to read its arguments"), True)
        run_code.setHelp(
            tr("Off: nothing of the package runs, so its arguments stay unknown unless they were read before.")
        )  # fmt: skip
        self.addParameter(run_code)
        trust = QgsProcessingParameterBoolean(self.TRUST, tr("Trust this package from now on"), False)
        trust.setHelp(
            tr("Remembers the package by its hash: it may run where there is no sandbox, with all your rights, and use the "
               "network where there is one. The options list the trusted packages and can revoke it.")
        )  # fmt: skip
        self.addParameter(trust)
        self.addParameter(shared.arcgis_trained(self.ARCGIS_TRAINED))
        self.addParameter(shared.authentication(self.AUTHCFG))
        text = tr("The same as a page, shown in the Results Viewer.")
        self.addParameter(shared.html(self.OUTPUT_HTML, tr("Page about the package"), text))
        for name, label in (
            ("NAME", tr("Name of the model")), ("MODEL_TYPE", tr("Type of the model")), ("SHA256", tr("Hash of the package")),
            ("DEVICE", tr("Device that would be used")), ("RUNS", tr("What runs it: NATIVE, PACKAGE or UNSUPPORTED")),
        ):  # fmt: skip
            self.addOutput(QgsProcessingOutputString(name, label))
        for name, label in (
            ("ARGUMENTS", tr("Arguments")), ("CLASSES", tr("Classes")), ("REQUIREMENTS", tr("Python libraries")),
            ("MISSING", tr("Missing Python libraries")), ("PROBLEMS", tr("What could not be understood")),
        ):  # fmt: skip
            self.addOutput(QgsProcessingOutputVariant(name, label))
        self.addOutput(QgsProcessingOutputNumber("CLASS_COUNT", tr("Number of classes")))

    def processAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Read the package, ask its function if that is wanted, and tell all."""
        if reason := why_not_writable(parameters.get(self.OUTPUT_HTML)):
            raise QgsProcessingException(reason)
        told = TaskFeedback(feedback)
        run_code = self.parameterAsBoolean(parameters, self.RUN_CODE, context)
        with interruptible(feedback):
            try:
                authcfg = self.parameterAsString(parameters, self.AUTHCFG, context)
                package = model_input.opened(self.parameterAsFile(parameters, self.MODEL, context), authcfg, told)
                if self.parameterAsBoolean(parameters, self.TRUST, context):
                    trusted.add(package.sha256, package.definition.name)
                    told.info(tr("The package {name} is trusted from now on, sha256 {hash}.",
                                 name=package.definition.name, hash=package.sha256))  # fmt: skip

                def find_hosting(package: Package) -> Hosting:
                    hosting = settings.hosting()
                    if run_code:
                        return consent.allowed(package, hosting, told)
                    return hosting

                way = self.parameterAsEnumString(parameters, self.ARCGIS_TRAINED, context)
                inspection = inspect_package(package, way, find_hosting, told, run_code)
            except InferenceError as error:
                raise reported(error, feedback) from error
        self._tell(inspection, feedback)
        results = inspection.as_results()
        html = self.parameterAsFileOutput(parameters, self.OUTPUT_HTML, context)
        if html:
            self._write(html, page(inspection))
            results[self.OUTPUT_HTML] = html
        return results

    def _tell(self, inspection: Inspection, feedback: QgsProcessingFeedback) -> None:
        for section in inspection.sections():
            feedback.pushInfo("\n".join(["", section.title, *(f"  {line}" for line in section.lines)]))
        for problem in inspection.problems:
            feedback.pushWarning(problem)

    def _write(self, path: str, text: str) -> None:
        try:
            Path(path).write_text(text, encoding="utf-8", errors="replace")
        except OSError as error:
            raise QgsProcessingException(
                tr("The page {path} cannot be written: {error}. Choose another place.", path=path, error=error.strerror)
            ) from error

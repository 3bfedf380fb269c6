"""All that can be told about a package: from its files, from its function, and from the Python that would run it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from . import description as descriptions
from .arcgis_trained import NATIVE, PACKAGE, chosen, native_network, obstacle
from .arguments import ModelArgument
from .description import Description
from .environment import Environment, inspect_environment
from .errors import Cancelled, InferenceError
from .feedback import Feedback
from .fields import GEOMETRY_TYPES
from .interpreter import Interpreter
from .package import Package
from .purpose import CLASSIFY, DETECT, algorithm_for
from .raster_function import Hosting
from .requirements import Requirement, requirements_of
from .suitability import span, trained_cell_sizes
from .translation import tr


@dataclass(frozen=True)
class Section:
    """A part of what is told: what it is (for programs), its heading and its lines."""

    key: str
    title: str
    lines: list[str]


@dataclass
class Inspection:
    """What is known of a package.

    Attributes:
        package: The package.
        description: What its function declares; None when its code did not run or failed.
        requirements: The libraries that it imports.
        interpreter: The Python that would run it; None when there is none.
        environment: What the inference Python has of them; None when it could not be asked.
        obstacle: Why it cannot run the way it should; empty where it can, as far as its files tell.
        problems: What could not be read or understood, each a sentence.
    """

    package: Package
    description: Description | None
    requirements: tuple[Requirement, ...]
    interpreter: Interpreter | None = None
    environment: Environment | None = None
    obstacle: str = ""
    problems: list[str] = field(default_factory=list)

    def sections(self) -> list[Section]:
        """What there is to tell, part by part."""
        parts = [
            Section("package", tr("Package"), self._package()),
            Section("classes", tr("Classes"), self._classes()),
            Section("arguments", tr("Arguments"), self._arguments()),
            Section("output", tr("Output"), self._output()),
            Section("libraries", tr("Python libraries"), self._libraries()),
            Section("place", tr("Where it would run"), self._place()),
            Section("definition", tr("Model definition"), self._definition()),
        ]
        return [part for part in parts if part.lines]

    def as_results(self) -> dict[str, Any]:
        """The same for programs: values that JSON can carry, by the names of the algorithm's outputs."""
        definition, environment = self.package.definition, self.environment
        versions = environment.versions if environment else {}
        return {
            "NAME": definition.name,
            "MODEL_TYPE": definition.model_type,
            "SHA256": self.package.sha256,
            "RUNS": "UNSUPPORTED" if self.obstacle else NATIVE if native_network(self.package) else PACKAGE,
            "DEVICE": environment.device.name if environment and environment.device else "",
            "ARGUMENTS": [_argument(each) for each in self.description.arguments] if self.description else None,
            "CLASSES": [
                {"value": each.value, "name": each.name, "color": list(each.color) if each.color else None}
                for each in definition.classes
            ],
            "CLASS_COUNT": len(definition.classes),
            "REQUIREMENTS": {each.module: versions.get(each.module) for each in self.requirements},
            "MISSING": environment.lacking if environment else None,
            "PROBLEMS": list(self.problems),
            "DEFINITION": definition.values,
        }

    def _package(self) -> list[str]:
        definition = self.package.definition
        bands = definition.values.get("ExtractBands")
        trained = trained_cell_sizes(definition)
        numbers = ", ".join(str(band + 1 if isinstance(band, int) else band) for band in bands) if isinstance(bands, list) else ""
        facts = [
            (tr("Name"), definition.name),
            (tr("Type"), definition.model_type or tr("not told")),
            (tr("Run it with"), algorithm_for(definition.model_type) or f"{DETECT}, {CLASSIFY}"),
            (tr("Source"), self.package.shown),
            (tr("sha256"), self.package.sha256),
            (tr("Raster function"), self._function()),
            (tr("Bands"), numbers or tr("all")),
            (tr("Trained on a cell size of"), span(trained) if trained else tr("not told")),
        ]
        return [f"{name}: {value}" for name, value in facts]

    def _function(self) -> str:
        function = self.package.function
        if self.obstacle:
            return tr("unsupported: {why}", why=self.obstacle)
        if network := native_network(self.package):
            return tr("native: {network} of the plugin; no code of the package runs", network=network)
        if not function.endswith(".py"):
            return tr("built in ({name})", name=function)
        return function.replace("\\", "/").rsplit("/", 1)[-1]

    def _classes(self) -> list[str]:
        shown = []
        for each in self.package.definition.classes:
            shown.append(f"{each.value}: {each.name}" + (f" ({each.hex_color})" if each.color else ""))
        return shown

    def _arguments(self) -> list[str]:
        if self.description is None:
            return []
        return [summary(each) for each in self.description.arguments] or [tr("none")]

    def _output(self) -> list[str]:
        known = self.description
        if known is None or known.fields is None or known.geometry_type is None:
            return []
        fields = ", ".join(f"{each.name} ({each.kind})" for each in known.fields)
        return [f"{tr('Geometry')}: {GEOMETRY_TYPES[known.geometry_type]}", f"{tr('Fields')}: {fields or tr('none')}"]

    def _libraries(self) -> list[str]:
        environment = self.environment
        if environment is None:
            return [each.module for each in self.requirements]
        missing = {each.module for each in environment.missing}
        lines = []
        for each in self.requirements:
            if each.module not in missing:
                lines.append(f"{each.module}: {environment.versions.get(each.module) or tr('there')}")
            else:
                needed = tr("missing, but it may do without") if each.is_optional else tr("missing")
                lines.append(f"{each.module}: {needed}")
        return lines or [tr("none but numpy and the standard library")]

    def _definition(self) -> list[str]:
        return [f"{key}: {json.dumps(value)[:200]}" for key, value in self.package.definition.values.items()]

    def _place(self) -> list[str]:
        if self.interpreter is None:
            return []
        python = tr("Python: {path} {version}, {origin}", path=self.interpreter.path, version=self.interpreter.version,
                    origin=self.interpreter.origin)  # fmt: skip
        return [python, tr("Device: {device}", device=self.environment.place)] if self.environment else [python]


def kind_label(kind: str) -> str:
    """What users call a kind of argument."""
    labels = {"number": tr("number"), "integer": tr("whole number"), "boolean": tr("True or False"), "text": tr("text")}
    return labels.get(kind, kind)


def summary(argument: ModelArgument) -> str:
    """One line about an argument."""
    limits = f" ({argument.limits})" if argument.limits else ""
    default = tr("no default") if argument.default is None else tr("default {value}", value=argument.default or "''")
    required = tr(", required") if argument.required and argument.default is None else ""
    about = f" - {argument.description or argument.label}" if argument.description or argument.label != argument.name else ""
    return f"{argument.name}: {kind_label(argument.kind)}{limits}, {default}{required}{about}"


def inspect_package(
    package: Package, way: str, find_hosting: Callable[[Package], Hosting], feedback: Feedback, run_code: bool
) -> Inspection:
    """Learn all about a package.

    Args:
        package: The package, as it was opened.
        way: What shall run it if ArcGIS trained it (see arcgis_trained).
        find_hosting: Tells where it would run.
        feedback: Warnings and details; can cancel.
        run_code: Whether its code may run. What it told before is shown in any case.

    Raises:
        Cancelled: The user stopped it. Whatever else fails becomes one of the problems.
    """
    why_not = obstacle(package, way)
    package = package if why_not else chosen(package, way)
    found = requirements_of(package)
    inspection = Inspection(package, descriptions.recall(package.identity), found.libraries, obstacle=why_not)
    problems = inspection.problems
    problems += [why_not] if why_not else []
    if not algorithm_for(package.definition.model_type):
        problems.append(
            tr("ModelType is '{kind}', which neither detects nor classifies objects, as far as is known.",
               kind=package.definition.model_type)
        )  # fmt: skip
    problems += package.definition.problems
    problems += [tr("This source file cannot be read: {file}", file=each) for each in found.unread]
    try:
        hosting = find_hosting(package)
        inspection.interpreter = hosting.interpreter
        inspection.environment = inspect_environment(hosting, found.libraries, feedback)
        if inspection.environment.lacking:
            problems.append(how_to_install(hosting.interpreter, inspection.environment.lacking))
        if run_code and not why_not:
            inspection.description = descriptions.describe(package, hosting, feedback, with_fields=True)
    except Cancelled:
        raise
    except InferenceError as error:
        if error.details:
            feedback.debug(error.details)
        problems.append(str(error))
        inspection.description = descriptions.recall(package.identity)
    if not run_code and inspection.description is None:
        problems.append(tr("The arguments are not known, as the package's code was not run (RUN_CODE is off)."))
    return inspection


def how_to_install(interpreter: Interpreter, distributions: list[str]) -> str:
    """What to do about missing libraries."""
    names = " ".join(distributions)
    return tr(
        "The inference Python lacks {names}. Install it there, for example with: {python} -m pip install {names} - or choose "
        "a Python that has it in the options (Processing, Deep Learning Packages).", names=names, python=interpreter.path,
    )  # fmt: skip


def _argument(argument: ModelArgument) -> dict[str, Any]:
    return {
        "name": argument.name,
        "kind": argument.kind,
        "default": argument.default,
        "required": argument.required,
        "label": argument.label,
        "description": argument.description,
        "choices": list(argument.choices),
        "minimum": argument.minimum,
        "maximum": argument.maximum,
    }

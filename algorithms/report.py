"""The report of a run: one HTML file with counts, confidence, pictures, times and warnings."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ..inference.classes import ModelClass, class_colors
from ..inference.findings import Example, Findings
from ..inference.grid import Window
from ..inference.item import Item
from ..inference.pictures import Photographer, Picture
from ..inference.plan import InferencePlan
from ..inference.run import Result
from ..inference.translation import tr
from .finishing import Finishing
from .page import document, swatch, table
from .provenance import Provenance
from .task import TaskFeedback

Colors = dict[object, tuple[str, str]]
"""Label and colour by what the class field holds."""
MOST_CLASSES = 50
MAP_PIXELS = 960
CROP_PIXELS = 192
LEAST_CROP = 48
"""Pixels of the raster that a crop shows at least, so that small objects have surroundings."""


@dataclass(frozen=True)
class Report:
    """What a report is made of.

    Attributes:
        findings: Summary of the detections.
        provenance: What made them.
        classes: Of the model definition, for colours.
        seconds: How long each part of the run took, by its name.
        warnings: Those of the log.
        items: The rasters at the cell size of the run, with the part that was looked at.
        bands: Those that the model read.
        lead: What was done, in one line.
        chip: Pixels that the model looked at around each feature, where it classified some; else 0.
        has_map: Whether there is one raster, so that there is a map.
    """

    findings: Findings
    provenance: Provenance
    classes: Sequence[ModelClass]
    seconds: dict[str, float]
    warnings: Sequence[str]
    items: Sequence[Item]
    bands: tuple[int, ...]
    lead: str
    chip: int = 0
    has_map: bool = True
    _photographers: dict[int, Photographer] = field(default_factory=dict, init=False)
    _numbers: Iterator[int] = field(default_factory=itertools.count, init=False)

    def html(self) -> str:
        """The whole page."""
        colors = class_colors(self.findings.counts, self.classes, self.findings.class_field)
        parts = [
            "".join(f'<p class="warning">{escape(text)}</p>' for text in self.warnings),
            _section(tr("Classes"), self._counts(colors)),
            _section(tr("Rasters"), self._rasters()),
            _section(tr("Map"), self._map(colors)),
            _section(tr("Confidence"), self._histogram()),
            *self._examples(colors),
            _section(tr("Time"), self._times()),
            _section(tr("How it was made"), self._facts()),
        ]
        return document(tr("Report: {name}", name=self.provenance.package), "\n".join(parts), self.lead)

    def _examples(self, colors: Colors) -> Iterator[str]:
        """The surest and the least sure ones; of a classifier the least sure ones of each class."""
        if not self.chip:
            yield _section(tr("Most confident"), self._crops(self.findings.best, colors))
            yield _section(tr("Least confident"), self._crops(self.findings.worst, colors))
            return
        for label, _ in self.findings.counts.most_common():
            name = colors[label][0] or tr("without a class")
            examples = self.findings.doubtful.get(label, ())
            yield _section(tr("Least certain of {name}", name=name), self._crops(examples, colors))

    def _photographer(self, item: int) -> Photographer:
        if item not in self._photographers:
            self._photographers[item] = Photographer(self.items[item].source, self.bands)
        return self._photographers[item]

    def _facts(self) -> str:
        lines = [line.partition(": ")[::2] for line in self.provenance.sentences()]
        return table([], [[escape(name if value else ""), escape(value or name)] for name, value in lines])

    def _counts(self, colors: Colors) -> str:
        counts = self.findings.counts.most_common()
        most = counts[0][1] if counts else 1
        rows = []
        for label, count in counts[:MOST_CLASSES]:
            name, color = colors[label]
            rows.append([swatch(color), escape(name or tr("without a class")), f"{count}", _bar(count / most)])
        if len(counts) > MOST_CLASSES:
            rest = counts[MOST_CLASSES:]
            rows.append(["", escape(tr("{count} other classes", count=len(rest))), f"{sum(count for _, count in rest)}", ""])
        return table(["", tr("Class"), tr("Objects"), ""], rows) if rows else f"<p>{escape(tr('Nothing was found.'))}</p>"

    def _rasters(self) -> str:
        """Objects in each raster, where each was searched by itself."""
        most = max(self.findings.images.values(), default=1)
        counts = self.findings.images.most_common()[:MOST_CLASSES]
        rows = [[escape(name), f"{count}", _bar(count / most)] for name, count in counts]
        return table([tr("Raster"), tr("Objects"), ""], rows) if rows else ""

    def _map(self, colors: Colors) -> str:
        if not self.has_map:
            return ""
        outlines, item = self.findings.outlines, self.items[0]
        points = self.findings.points
        dots = None if outlines or not len(points) else item.source.grid.affine.invert(points)
        picture = self._photographer(0).of_window(item.extent, MAP_PIXELS, dots)
        if picture is None:
            return f"<p>{escape(tr('The raster is large and has no overviews, so there is no picture of all of it.'))}</p>"
        return f"<figure>{self._drawing(picture, outlines, colors)}</figure>"

    def _crops(self, examples: Sequence[Example], colors: Colors) -> str:
        figures = []
        for example in examples if self.has_map or self.chip else ():
            picture = self._photographer(example.item).of_window(self._around(example), CROP_PIXELS)
            if picture is not None:
                caption = " ".join(part for part in (colors[example.label][0], f"{example.confidence:.3g}") if part)
                figures.append(
                    f"<figure>{self._drawing(picture, [example], colors)}<figcaption>{escape(caption)}</figcaption></figure>"
                )
        return f'<div class="crops">{"".join(figures)}</div>' if figures else ""

    def _around(self, example: Example) -> Window:
        """A square of pixels with the geometry in its middle and room around it, or what a classifier saw at least."""
        left, bottom, right, top = example.geometry.bounds
        corners = self.items[example.item].source.grid.affine.invert(
            np.array([[left, bottom], [left, top], [right, bottom], [right, top]])
        )
        low, high = corners.min(axis=0), corners.max(axis=0)
        side = int(max((high - low).max() * (1.0 if self.chip else 1.8), self.chip or LEAST_CROP))
        middle = (low + high) / 2
        return Window(round(middle[0] - side / 2), round(middle[1] - side / 2), side, side)

    def _drawing(self, picture: Picture, outlines: Sequence[Example], colors: Colors) -> str:
        """A picture with outlines over it, sharp at any size; each with a white line under its own."""
        data = base64.b64encode(picture.jpeg).decode("ascii")
        by_color: dict[str, list[str]] = {}
        for example in outlines:
            by_color.setdefault(colors[example.label][1], []).append(self._path(example, picture))
        drawn = "".join(self._outlined("".join(paths), color) for color, paths in by_color.items())
        size = f'viewBox="0 0 {picture.width} {picture.height}" width="{picture.width}" height="{picture.height}"'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size}><image width="{picture.width}" height="{picture.height}" '
            f'href="data:image/jpeg;base64,{data}"/>{drawn}</svg>'
        )

    def _outlined(self, path: str, color: str) -> str:
        """A path drawn twice, written once."""
        name = f"p{next(self._numbers)}"
        lines = "".join(
            f'<use href="#{name}" fill="none" stroke="{stroke}" stroke-width="{width}" stroke-opacity="{opacity}"/>'
            for stroke, width, opacity in (("#fff", 3, 0.7), (color, 1.5, 1))
        )
        return f'<defs><path id="{name}" d="{path}"/></defs>{lines}'

    def _path(self, example: Example, picture: Picture) -> str:
        """An outline in pixels of the picture, no finer than they are."""
        import shapely

        def place(points: Any) -> Any:  # noqa: ANN401
            return picture.place(self.items[example.item].source.grid.affine.invert(points))

        drawn = []
        for part in shapely.get_parts(shapely.simplify(shapely.transform(example.geometry, place), 0.5)):
            for line in [part.exterior, *part.interiors] if part.geom_type == "Polygon" else [part]:
                places = shapely.get_coordinates(line)
                if part.geom_type == "Point":
                    x, y = places[0]
                    drawn.append(f"M{x - 3:.1f} {y:.1f}a3 3 0 1 0 6 0a3 3 0 1 0 -6 0")
                else:
                    drawn.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places))
        return "".join(drawn)

    def _histogram(self) -> str:
        counts, edges = self.findings.histogram()
        most = max(int(counts.max()), 1) if len(counts) else 1
        if not len(self.findings.confidence):
            return ""
        width, height, step = 480, 120, 480 / len(counts)
        bars = "".join(
            f'<rect class="bar" x="{number * step + 1:.1f}" y="{height - height * count / most:.1f}" width="{step - 2:.1f}" '
            f'height="{height * count / most:.1f}"><title>{low:.3g} … {high:.3g}: {count}</title></rect>'
            for number, (count, low, high) in enumerate(zip(counts, edges[:-1], edges[1:]))
        )
        labels = (
            f'<text x="0" y="{height + 14}">{edges[0]:.3g}</text><text x="{width}" y="{height + 14}" text-anchor="end">'
            f'{edges[-1]:.3g}</text><text x="{width / 2}" y="{height + 14}" text-anchor="middle">'
            f"{escape(tr('highest bar: {count}', count=most))}</text>"
        )
        return f'<svg viewBox="0 0 {width} {height + 18}" width="{width}" height="{height + 18}">{bars}{labels}</svg>'

    def _times(self) -> str:
        total = sum(self.seconds.values()) or 1.0
        rows = [[escape(name), f"{seconds:.1f} s", _bar(seconds / total)] for name, seconds in self.seconds.items()]
        return table([], [*rows, [f"<b>{escape(tr('All'))}</b>", f"<b>{total:.1f} s</b>", ""]])


def write_report(path: str, plan: InferencePlan, result: Result, finishing: Finishing, feedback: TaskFeedback) -> bool:
    """Write the report of a run; where that fails, tell it, as the layer is complete and the run has not failed."""
    try:
        report = _report_of(plan, result, finishing, feedback.warnings)
        Path(path).write_text(report.html(), encoding="utf-8", errors="replace")
    except Exception as error:  # noqa: BLE001 - see above
        feedback.warning(tr("The report cannot be written: {error}", error=error))
        return False
    return True


def _report_of(plan: InferencePlan, result: Result, finishing: Finishing, warnings: Sequence[str]) -> Report:
    common = finishing.provenance, plan.package.definition.classes, result.seconds, warnings, plan.items, result.bands
    is_one = len(plan.items) == 1
    if plan.features is None:
        findings = Findings.of(((0, each) for each in result.detections()), finishing.confidence)
        return Report(findings, *common, tr("{count} objects found", count=sum(findings.counts.values())), has_map=is_one)
    findings, features = Findings.of(result.located(), "Confidence"), plan.features
    lead = tr("{count} of {all} features have a label", count=sum(findings.counts.values()), all=features.count)
    return Report(findings, *common, lead, max(result.crop.largest), is_one and not features.is_whole)


def _section(title: str, body: str) -> str:
    return f"<h2>{escape(title)}</h2>\n{body}" if body else ""


def _bar(share: float) -> str:
    return f'<svg viewBox="0 0 200 10" width="200" height="10"><rect class="bar" width="{200 * share:.1f}" height="10"/></svg>'

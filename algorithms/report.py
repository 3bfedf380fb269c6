"""The report of a run: one HTML file with counts, confidence, pictures, times and warnings."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from ..inference.classes import ModelClass
from ..inference.findings import Example, Findings
from ..inference.grid import Window
from ..inference.pictures import Photographer, Picture
from ..inference.raster import RasterSource
from ..inference.translation import tr
from .page import document, table
from .provenance import Provenance
from .style import PALETTE

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
        source: The raster at the cell size of the run.
        window: The pixels of its grid that were searched.
        bands: Those that the model read.
    """

    findings: Findings
    provenance: Provenance
    classes: Sequence[ModelClass]
    seconds: dict[str, float]
    warnings: Sequence[str]
    source: RasterSource
    window: Window
    bands: tuple[int, ...]

    def html(self) -> str:
        """The whole page."""
        photographer = Photographer(self.source, self.bands)
        total = sum(self.findings.counts.values())
        parts = [
            "".join(f'<p class="warning">{escape(text)}</p>' for text in self.warnings),
            _section(tr("Classes"), self._counts()),
            _section(tr("Map"), self._map(photographer)),
            _section(tr("Confidence"), self._histogram()),
            _section(tr("Most confident"), self._crops(photographer, self.findings.best)),
            _section(tr("Least confident"), self._crops(photographer, self.findings.worst)),
            _section(tr("Time"), self._times()),
            _section(tr("How it was made"), self._facts()),
        ]
        lead = tr("{count} objects found", count=total)
        return document(tr("Report: {name}", name=self.provenance.package), "\n".join(parts), lead)

    def _facts(self) -> str:
        lines = [line.partition(": ")[::2] for line in self.provenance.sentences()]
        return table([], [[escape(name if value else ""), escape(value or name)] for name, value in lines])

    def _color(self, label: str) -> str:
        for number, each in enumerate(self.classes):
            if label.casefold() in (each.name.casefold(), each.value):
                return f"#{bytes(each.color).hex()}" if each.color else PALETTE[number % len(PALETTE)]
        return PALETTE[sorted(self.findings.counts).index(label) % len(PALETTE)]

    def _counts(self) -> str:
        rows = []
        most = max(self.findings.counts.values(), default=1)
        for label, count in self.findings.counts.most_common():
            swatch = f'<span class="swatch" style="background: {self._color(label)}"></span>'
            rows.append([swatch, escape(label or tr("without a class")), f"{count}", _bar(count / most)])
        return table(["", tr("Class"), tr("Objects"), ""], rows) if rows else f"<p>{escape(tr('Nothing was found.'))}</p>"

    def _map(self, photographer: Photographer) -> str:
        outlines = self.findings.outlines
        dots = None if outlines or not len(self.findings.points) else self.source.grid.affine.invert(self.findings.points)
        picture = photographer.of_window(self.window, MAP_PIXELS, dots)
        if picture is None:
            return f"<p>{escape(tr('The raster is large and has no overviews, so there is no picture of all of it.'))}</p>"
        return f"<figure>{self._drawing(picture, outlines)}</figure>"

    def _crops(self, photographer: Photographer, examples: Sequence[Example]) -> str:
        figures = []
        for example in examples:
            picture = photographer.of_window(self._around(example.geometry), CROP_PIXELS)
            if picture is not None:
                caption = " ".join(part for part in (example.label, f"{example.confidence:.3g}") if part)
                figures.append(f"<figure>{self._drawing(picture, [example])}<figcaption>{escape(caption)}</figcaption></figure>")
        return f'<div class="crops">{"".join(figures)}</div>' if figures else ""

    def _around(self, geometry: Any) -> Window:  # noqa: ANN401 - shapely has no type stubs
        """A square of pixels with the geometry in its middle and room around it."""
        left, bottom, right, top = geometry.bounds
        corners = self.source.grid.affine.invert(np.array([[left, bottom], [left, top], [right, bottom], [right, top]]))
        low, high = corners.min(axis=0), corners.max(axis=0)
        side = int(max((high - low).max() * 1.8, LEAST_CROP))
        middle = (low + high) / 2
        return Window(round(middle[0] - side / 2), round(middle[1] - side / 2), side, side)

    def _drawing(self, picture: Picture, outlines: Sequence[Example]) -> str:
        """A picture with outlines over it, sharp at any size."""
        data = base64.b64encode(picture.jpeg).decode("ascii")
        by_class: dict[str, list[str]] = {}
        for example in outlines:
            by_class.setdefault(self._color(example.label), []).append(self._path(example.geometry, picture))
        strokes = "".join(
            f'<path d="{" ".join(paths)}" fill="none" stroke="{color}" stroke-width="{width}" stroke-opacity="{opacity}"/>'
            for drawn, paths in by_class.items()
            for color, width, opacity in (("#ffffff", 3, 0.7), (drawn, 1.5, 1))
        )
        size = f'viewBox="0 0 {picture.width} {picture.height}" width="{picture.width}" height="{picture.height}"'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size}><image width="{picture.width}" height="{picture.height}" '
            f'href="data:image/jpeg;base64,{data}"/>{strokes}</svg>'
        )

    def _path(self, geometry: Any, picture: Picture) -> str:  # noqa: ANN401
        import shapely

        drawn = []
        for part in shapely.get_parts(geometry):
            lines = [part.exterior, *part.interiors] if part.geom_type == "Polygon" else [part]
            for line in lines:
                places = picture.place(self.source.grid.affine.invert(shapely.get_coordinates(line)))
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


def _section(title: str, body: str) -> str:
    return f"<h2>{escape(title)}</h2>\n{body}" if body else ""


def _bar(share: float) -> str:
    return f'<svg viewBox="0 0 200 10" width="200" height="10"><rect class="bar" width="{200 * share:.1f}" height="10"/></svg>'

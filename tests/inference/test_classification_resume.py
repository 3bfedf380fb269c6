"""Classification that is cut short goes on where it stopped, with the same labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
from classification_runs import CHANGED, NO_SANDBOX, SMALL, Labelled, classify, item_of, labels_of, points
from classifiers import make_classifier
from deep_learning_packages.inference.errors import FunctionError, RasterError
from deep_learning_packages.inference.item import Item
from deep_learning_packages.inference.rasters.gdal_raster import GdalRaster
from deep_learning_packages.inference.rasters.over import OverRaster
from engine_runs import Recorder
from rasters import write_raster

CUT = """
def vectorize(self, **blocks):
    import os
    chips, masks = blocks["rasters_pixels"], blocks["rasters_mask"]
    self.calls = getattr(self, "calls", 0) + 1
    print("batch")
    if os.path.exists({mark!r}) and self.calls == int(open({mark!r}).read()):
        raise ValueError("told to")
    features = [self.feature(number, chip, mask) for number, (chip, mask) in enumerate(zip(chips, masks), 1)]
    for feature in features:
        attributes = feature["attributes"]
        mean = float(attributes["Label"])
        attributes["Classname"] = "other"
        if mean < 20:  # in the dark corner alone, which is looked at first
            attributes["Classname"] = attributes.pop("Label")
            attributes["Confidence"] = "0.5;0.25"
            attributes["Odd"] = "even" if int(mean * 1000) % 2 else 1
    if int(float(features[0]["attributes"].get("Label", 1)) * 1000) % 5 == 0:
        features = features[:-1]
    return {{"output_vectors": json.dumps({{"features": features}})}}
"""


@pytest.mark.parametrize(("workers", "fail_at"), [(1, 20), (1, 100), (2, 45)])
def test_goes_on_where_it_stopped(tmp_path, cache, pixels, workers, fail_at):
    """All that a user sees is that of a run which was not cut short; what was finished is not done again.

    There are about 120 batches. What only the first ones give must still be known after a run that saw but the others.
    """
    pixels[0, :40, :40] = pixels[0, :40, :40] % 8 + 8
    raster, mark = write_raster(tmp_path / "corner.tif", pixels), tmp_path / "fail_at"
    package = make_classifier(tmp_path / "p", CUT.format(mark=str(mark)))
    rng = np.random.default_rng(7)
    shapes = [shapely.Point(*at) for at in rng.uniform(-3, (83, 63), (600, 2))]

    def once(feedback: Recorder | None = None) -> Labelled:
        return classify(package, raster, shapes, SMALL.arguments, feedback, sandbox=NO_SANDBOX, workers=workers)

    reference = once()
    assert [(field.name, field.kind) for field in reference.fields] == [
        ("ClassLabel", "text"), ("Confidence", "text"), ("Size", "integer"), ("Odd", "text"),
    ]  # fmt: skip
    assert any("answer about their batch" in reason for reason in reference.unlabelled)
    mark.write_text(str(fail_at))
    with pytest.raises(FunctionError, match=r"told to.* \d+ of \d+ blocks are kept: run it again"):
        once(failed := Recorder())
    mark.unlink()
    resumed = once()
    assert any("Going on with an earlier run" in text for text in resumed.feedback.infos)
    assert (resumed.rows, resumed.fields, resumed.unlabelled) == (reference.rows, reference.fields, reference.unlabelled)
    batches = [outcome.details.count("batch") for outcome in (reference.feedback, failed, resumed.feedback)]
    assert batches[2] < batches[0] < batches[1] + batches[2]


def test_other_features_are_another_run(tmp_path, cache, raster, pixels):
    """What one run has left must not be taken for labels of another's features."""
    package = make_classifier(tmp_path / "p", CHANGED.format(change="if self.calls == 30: raise ValueError('no')"))
    shapes = points(200)
    with pytest.raises(FunctionError, match="blocks are kept"):
        classify(package, raster, shapes, SMALL.arguments)
    others = [*shapes[:100:-1], None, *shapes[:9]]
    found = classify(package, raster, others, SMALL.arguments)
    assert found.labels == labels_of(pixels, others, SMALL)
    assert not any("Going on" in text for text in found.feedback.infos)


class Patchy(OverRaster):
    """A raster of which a part cannot be read."""

    def __init__(self, source: GdalRaster, first: int) -> None:
        super().__init__(source)
        self._first = first

    @property
    def grid(self):
        return self._source.grid

    def read(self, window, bands, out, mask):
        if window.column + window.width > self._first:
            raise RasterError("unreadable")
        return self._source.read(window, bands, out, mask)

    def clone(self):
        return Patchy(self._source.clone(), self._first)


def patchy(raster: Path) -> tuple[Item, ...]:
    item = item_of(raster)
    return (Item(Patchy(item.source, 40), item.extent),)


def test_chips_that_cannot_be_read(oracle, raster, pixels):
    shapes = points(70)
    with pytest.raises(RasterError, match="unreadable"):
        classify(oracle, None, shapes, SMALL.arguments, items=patchy(raster))
    found = classify(oracle, None, shapes, SMALL.arguments, items=patchy(raster), max_missing=1.0)
    wanted = labels_of(pixels, shapes, SMALL)
    missing = [SMALL.window(shape)[0] + 4 > 40 for shape in shapes]
    assert found.labels == [None if is_missing else label for is_missing, label in zip(missing, wanted)]
    assert found.unlabelled == {"their pixels could not be had": sum(missing)}
    assert any("of the features could not be had" in text and "unreadable" in text for text in found.feedback.warnings)


def test_counts_after_a_run_that_reads_its_gaps_again(tmp_path, cache, raster, pixels):
    """A block with a gap is done again by the run that goes on; what it counted before must not count twice."""
    mark = tmp_path / "fail"
    change = (
        f"if self.calls % 3 == 0: features = []\n    if os.path.exists({str(mark)!r}) and self.calls > 40: raise ValueError('no')"
    )
    package = make_classifier(tmp_path / "p", CHANGED.format(change=change))
    rng = np.random.default_rng(7)
    shapes = [shapely.Point(*at) for at in rng.uniform(2, (78, 58), (600, 2))]

    def once() -> Labelled:
        return classify(package, None, shapes, SMALL.arguments, items=patchy(raster), max_missing=1.0, sandbox=NO_SANDBOX)

    mark.touch()
    with pytest.raises(FunctionError, match="blocks are kept"):
        once()
    mark.unlink()
    resumed = once()
    assert any("blocks with gaps are read again" in text for text in resumed.feedback.infos)
    assert sum(resumed.unlabelled.values()) == resumed.labels.count(None)

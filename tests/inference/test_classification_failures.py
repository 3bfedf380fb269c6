"""Batches of chips, and functions that misbehave: what one batch costs is never another one's label."""

from __future__ import annotations

import time

import numpy as np
import pytest
import shapely
from classification_runs import CHANGED, NO_SANDBOX, SMALL, Labelled, classify, labels_of, points
from classifiers import CropRule, make_classifier
from deep_learning_packages.inference.errors import FunctionError, OutOfMemoryError, WorkerError
from deep_learning_packages.inference.slots import Slots

WATCHED = """
def vectorize(self, **blocks):
    chips = blocks["rasters_pixels"]
    self.calls = getattr(self, "calls", 0) + 1
    assert isinstance(chips, tuple) and isinstance(blocks["rasters_mask"], tuple) and len(chips) == len(blocks["rasters_mask"])
    assert blocks["raster_pixels"] is chips[0]
    features = [{"attributes": {"Label": str(chip.shape[1:]), "Call": self.calls, "Chips": len(chips)}} for chip in chips]
    return {"output_vectors": json.dumps({"features": features})}
"""


def test_batches_are_full_and_of_one_shape(tmp_path, raster):
    """130 chips of 4 sizes, mixed: 9 batches of 16 at most would do, one more for each size that is left over."""
    rng = np.random.default_rng(1)
    sizes = rng.integers(2, 4, (130, 2)) - 0.7
    shapes = [shapely.box(x, y, x + w, y + h) for (x, y), (w, h) in zip(np.floor(rng.uniform(3, 50, (130, 2))) + 0.1, sizes)]
    package = make_classifier(tmp_path / "p", WATCHED)
    found = classify(package, raster, shapes, f"{CropRule(8, 8, False, False).arguments};batch_size 16")
    assert found.labels == [str((int(h + 0.7), int(w + 0.7))) for w, h in sizes]
    calls: dict[int, list[str]] = {}
    for _, _, answer in found.rows:
        calls.setdefault(answer.extras["call"], []).append(answer.label)
    assert all(len(set(shapes)) == 1 and len(shapes) <= 16 for shapes in calls.values())
    assert all(len(calls[answer.extras["call"]]) == answer.extras["chips"] for _, _, answer in found.rows)
    assert len(calls) <= 9 + 4 * 3  # three blocks


def test_memory_for_a_batch_that_there_are_not_enough_chips_for(tmp_path, raster, monkeypatch):
    """Slots are no larger than what there is to put into them."""
    asked, allocate = [], Slots.allocate
    monkeypatch.setattr(Slots, "allocate", lambda self, size, *counts: (asked.append(size), allocate(self, size, *counts))[1])
    package = make_classifier(tmp_path / "p", WATCHED)
    found = classify(package, raster, points(150), f"{SMALL.arguments};batch_size 100000")
    assert [answer.extras["chips"] for _, _, answer in found.rows] == [150] * 150
    assert asked[0] < 150 * 1024  # chips of 16 bytes, with their masks


NO_FEATURE_SET = [
    "None", "[]", "{}", "'text'", "{'output_vectors': None}", "{'output_vectors': 'x'}", "{'output_vectors': b'\\xff'}",
    "{'output_vectors': 5}", "{'output_vectors': '[]'}", "{'output_vectors': {'features': None}}", "{'output_vectors': '\\ud800'}",
    "{'output_vectors': '[' * 100_000}", "{'output_vectors': '9' * 5000}", "{'output_vectors': float('nan')}", "object()",
]  # fmt: skip


def check_second_batch_is_lost(found: Labelled, wanted: list[str | None], reason: str) -> None:
    assert found.labels == [*wanted[:4], *[None] * 4, *wanted[8:]]
    (lost,) = found.unlabelled.items()
    assert reason in lost[0]
    assert lost[1] == 4
    assert [text for text in found.feedback.warnings if text.startswith("4 features have no label") and reason in text]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("if self.calls == 2: features = features[:3]", "3 features for 4 chips"),
        ("if self.calls == 2: features = []", "0 features for 4 chips"),
        ("if self.calls == 2: features = features + features[:1]", "5 features for 4 chips"),
        ("if self.calls == 2: features = features * 100", "400 features for 4 chips"),
    ],
)
def test_batch_with_another_count_has_no_labels(tmp_path, raster, pixels, change, reason):
    shapes = points(10)
    found = classify(make_classifier(tmp_path / "p", CHANGED.format(change=change)), raster, shapes, SMALL.arguments)
    check_second_batch_is_lost(found, labels_of(pixels, shapes, SMALL), reason)


@pytest.mark.parametrize("answer", NO_FEATURE_SET)
def test_answer_that_is_no_feature_set_costs_its_batch_alone(tmp_path, raster, pixels, answer):
    shapes = points(10)
    package = make_classifier(tmp_path / "p", CHANGED.format(change=f"if self.calls == 2: return {answer}"))
    found = classify(package, raster, shapes, SMALL.arguments)
    check_second_batch_is_lost(found, labels_of(pixels, shapes, SMALL), "(1 batches): ")


def test_warnings_end_in_one_full_stop(tmp_path, raster):
    package = make_classifier(tmp_path / "p", CHANGED.format(change="return {'output_vectors': 5}"))
    assert [text for text in classify(package, raster, points(1)).feedback.warnings if text.endswith("..")] == []


@pytest.mark.parametrize(
    "features", ["[None] * 4", "[5, 'x', [], {}]", "[{'attributes': None}] * 4", "[{'attributes': {'Other': 1}}] * 4"]
)
def test_features_without_label_are_counted(tmp_path, raster, pixels, features):
    shapes = points(10)
    package = make_classifier(tmp_path / "p", CHANGED.format(change=f"if self.calls == 2: features = {features}"))
    found = classify(package, raster, shapes, SMALL.arguments)
    wanted = labels_of(pixels, shapes, SMALL)
    assert found.labels == [*wanted[:4], *[None] * 4, *wanted[8:]]
    assert sum(found.unlabelled.values()) == 4


def test_full_answer_to_a_short_batch_loses_what_is_too_much(tmp_path, raster, pixels):
    """CONTRACT 3.6: an older function builds as many as batch_size."""
    shapes = points(10)
    package = make_classifier(tmp_path / "p", CHANGED.format(change="features = (features * 4)[:4]"))
    found = classify(package, raster, shapes, SMALL.arguments)
    assert found.labels == labels_of(pixels, shapes, SMALL)
    assert found.unlabelled == {}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("error", "batch"), [("MemoryError('no')", 16), ("RuntimeError('CUDA out of memory.')", 13)])
def test_out_of_memory_halves_the_batch(tmp_path, raster, pixels, workers, error, batch):
    shapes = points(200)
    package = make_classifier(tmp_path / "p", CHANGED.format(change=f"if len(chips) > 2: raise {error}"))
    found = classify(package, raster, shapes, f"{SMALL.arguments};batch_size {batch}", workers=workers)
    assert found.labels == labels_of(pixels, shapes, SMALL)
    told = [text.split("batch_size ")[1] for text in found.feedback.warnings if "goes on with batch_size" in text]
    assert told == [f"8 (it was {batch}).", "4 (it was 8).", "2 (it was 4)."]


def test_out_of_memory_with_one_chip_stops(tmp_path, raster):
    package = make_classifier(tmp_path / "p", CHANGED.format(change="raise MemoryError('no room')"))
    with pytest.raises(OutOfMemoryError, match="no room.*Choose a smaller batch_size"):
        classify(package, raster, points(3))


@pytest.mark.parametrize(("change", "error", "text"), [
    ("if self.calls == 2: raise ValueError('the second')", FunctionError, "ValueError: the second"),
    ("if self.calls == 2: raise SystemExit(3)", FunctionError, "SystemExit: 3"),
    ("if self.calls == 2: os.kill(os.getpid(), 9)", WorkerError, "killed"),
])  # fmt: skip
def test_function_that_fails_stops_the_run_and_tells_where(tmp_path, raster, change, error, text):
    package = make_classifier(tmp_path / "p", CHANGED.format(change=change))
    with pytest.raises(error, match=rf"At one of 10 features near 50000\d.*{text}"):
        classify(package, raster, points(10), SMALL.arguments)


def test_worker_that_dies_once_costs_nothing(tmp_path, raster, pixels):
    mark = tmp_path / "died"
    change = f"os.path.exists({str(mark)!r}) or [open({str(mark)!r}, 'w').close(), os.kill(os.getpid(), 9)]"
    shapes = points(200)
    found = classify(
        make_classifier(tmp_path / "p", CHANGED.format(change=change)), raster, shapes, SMALL.arguments, sandbox=NO_SANDBOX
    )
    assert found.labels == labels_of(pixels, shapes, SMALL)
    assert any("started again" in text for text in found.feedback.warnings)


def test_time_for_a_call_is_not_time_for_each_chip(tmp_path, raster):
    """A function that hangs is noticed after the time for its calls, however many chips one has."""
    change = "import time\n    time.sleep(600)"
    package = make_classifier(tmp_path / "p", CHANGED.format(change=change))
    began = time.monotonic()
    with pytest.raises(WorkerError, match="did not answer within 1 seconds"):
        classify(package, raster, points(64), f"{SMALL.arguments};batch_size 64", block_seconds=1.0)
    assert time.monotonic() - began < 60

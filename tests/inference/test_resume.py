"""A run that was cut short goes on where it stopped, with the output of one that was not; and only when nothing changed."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from deep_learning_packages.inference import journal as journal_module
from deep_learning_packages.inference.errors import Cancelled, FunctionError, JournalError, OutOfMemoryError
from deep_learning_packages.inference.journal import Journal
from deep_learning_packages.inference.journals import forget, kept_journals
from deep_learning_packages.inference.plan import SuppressionPlan
from deep_learning_packages.inference.run import run_plan
from deep_learning_packages.inference.sandbox import Sandbox
from engine_runs import Outcome, Recorder, make_plan, run
from packages import ORACLE, make_package
from rasters import draw, write_raster

# An oracle that prints a line a block, gives fields that it did not declare, a class to leave out and a feature to drop,
# fails at the block that a file beside the package names, and runs out of memory beyond a size that another one names.
COUNTING = ORACLE.replace(
    "    def find(self, pixels, mask):\n",
    """
    def vectorize(self, **blocks):
        self.count = getattr(self, "count", 0) + 1
        print("searched")
        if self.count == self.told("fail_at"):
            raise ValueError("told to fail")
        if blocks["raster_pixels"].shape[1] > (self.told("limit") or 10**9):
            raise RuntimeError("out of memory")
        features = [self.feature(*found) for found in self.find(blocks["raster_pixels"], blocks["raster_mask"])]
        for number, feature in enumerate(features):
            left, top = feature["geometry"]["rings"][0][0]
            if (left + top) % 3 == 0:
                feature["attributes"]["Found%d" % (left % 2)] = left if top % 2 else left + 0.5
            if left % 5 == 0:
                feature["attributes"]["Class"] = "Other"
            feature["attributes"]["Confidence"] = ((left * 7 + top) % 10) / 10
        return {"output_vectors": json.dumps({"features": [*features, {"attributes": {}, "geometry": None}]})}

    def told(self, name):
        path = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "told", name)
        return int(open(path).read()) if os.path.exists(path) else None

    def find(self, pixels, mask):
""",
)
NO_SANDBOX = Sandbox(None, "the package reads a file beside it")
ARGUMENTS = "tile 20;padding 8;batch_size 16"
ALL: dict[str, object] = {"suppression": None, "classes": ()}
SUPPRESSED = {"suppression": SuppressionPlan("Confidence", "", 0.1), "classes": ("Box",)}


class Scene:
    """A raster with boxes and a hole without data, a package, and what the package is told from outside."""

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(5)
        pixels = np.zeros((1, 410, 550), np.uint16)
        for number in range(1, 150):
            left, top = rng.integers(0, 540), rng.integers(0, 400)
            draw(pixels[0], (left, top, left + 6, top + 6), number)
        pixels[0, 160:330, 160:330] = 9999
        self.raster = write_raster(folder / "scene.tif", pixels, nodata=9999)
        self.package = make_package(folder / "package", COUNTING)
        self.folder = folder / "told"
        self.folder.mkdir()

    def tell(self, **numbers: int | None) -> None:
        for name, number in numbers.items():
            path = self.folder / name
            path.unlink(missing_ok=True)
            if number is not None:
                path.write_text(str(number))

    def run(self, **settings) -> Outcome:
        return run(self.package, self.raster, ARGUMENTS, sandbox=NO_SANDBOX, **{**SUPPRESSED, **settings})


@pytest.fixture
def scene(tmp_path, cache) -> Scene:
    return Scene(tmp_path)


def content(outcome: Outcome) -> list[tuple[str, str]]:
    """All that a user sees of a result, in its order."""
    rows = [repr(sorted(row.items(), key=str)) for row in outcome.rows]
    return [(repr(outcome.fields), ""), *zip((geometry.wkt for geometry in outcome.geometries), rows)]


def searched(outcome_or_feedback) -> int:
    feedback = getattr(outcome_or_feedback, "feedback", outcome_or_feedback)
    return feedback.details.count("searched")


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("fail_at", [2, 5, 9])
def test_goes_on_where_it_stopped(scene, fail_at, workers):
    reference = scene.run(workers=workers)
    assert len({field.name for field in reference.fields} & {"Found0", "Found1"}) == 2
    assert kept_journals() == []
    scene.tell(fail_at=fail_at)
    failed = Recorder()
    with pytest.raises(
        FunctionError, match=r"told to fail.* \d+ of 42 blocks are kept: run it again with the same inputs"
    ) as caught:
        scene.run(workers=workers, feedback=failed)
    done = int(str(caught.value).split(" of 42")[0].split()[-1])
    (kept,) = kept_journals()
    assert (kept.model, kept.raster, kept.done, kept.total, kept.in_use) == ("Package", "scene.tif", done, 42, False)
    scene.tell(fail_at=None)
    resumed = scene.run(workers=workers)
    assert any(f"Going on with an earlier run: {done} of 42 blocks" in text for text in resumed.feedback.infos)
    assert content(resumed) == content(reference)
    counted = ("blocks", "skipped", "pixels", "detections")
    assert [getattr(resumed.statistics, name) for name in counted] == [getattr(reference.statistics, name) for name in counted]
    assert (resumed.outside, resumed.other_classes) == (reference.outside, reference.other_classes)
    # The log of the resumed run counts what was dropped over both runs.
    assert [text for text in resumed.feedback.warnings if "without geometry" in text] == [
        text for text in reference.feedback.warnings if "without geometry" in text
    ]
    missing = searched(reference) - done
    assert missing <= searched(resumed) <= missing + resumed.statistics.skipped
    assert kept_journals() == []


def test_cancelled_again_and_again(scene):
    """Ten runs, each cancelled at another moment; the last one ends with what an undisturbed one finds."""
    reference = scene.run()
    rng = random.Random(4)
    for _ in range(10):
        feedback = Recorder()
        timer = threading.Timer(0.3 + rng.random() * 0.4, lambda recorder=feedback: setattr(recorder, "canceled", True))
        timer.start()
        with contextlib.suppress(Cancelled):
            scene.run(feedback=feedback, settled=False)
        timer.cancel()
    assert content(scene.run()) == content(reference)


def test_after_memory_ran_out_it_goes_on_with_the_smaller_batch(scene):
    reference = scene.run(**ALL)
    scene.tell(limit=70, fail_at=9)
    with pytest.raises(FunctionError):
        scene.run(**ALL)
    scene.tell(limit=40, fail_at=25)  # even less memory now
    second = Recorder()
    with pytest.raises(FunctionError):
        scene.run(**ALL, feedback=second)
    assert "Memory ran out in the earlier run, so this one goes on with its batch_size 4." in second.infos
    scene.tell(limit=30, fail_at=None)
    with pytest.raises(OutOfMemoryError):
        scene.run(**ALL)
    scene.tell(limit=None)
    resumed = scene.run(**ALL)
    assert "Memory ran out in the earlier run, so this one goes on with its batch_size 1." in resumed.feedback.infos
    # Blocks of another size overlap elsewhere, so the same boxes are found twice at other seams.
    assert {geometry.wkb for geometry in resumed.geometries} == {geometry.wkb for geometry in reference.geometries}
    assert resumed.statistics.pixels == reference.statistics.pixels


def test_whole_run_is_kept_until_the_output_is_written(scene):
    reference = scene.run(settled=False)
    (kept,) = kept_journals()
    assert kept.done == 42
    again = scene.run()
    assert searched(again) == 0
    assert content(again) == content(reference)
    assert kept_journals() == []


def test_other_suppression_costs_no_second_search(scene):
    """What was found is kept before duplicates are removed."""
    reference = scene.run(suppression=None)
    scene.run(settled=False)
    other = scene.run(suppression=SuppressionPlan("Confidence", "", 0.9), settled=False)
    without = scene.run(suppression=None)
    assert searched(other) == searched(without) == 0
    assert content(without) == content(reference)
    assert searched(scene.run(suppression=SuppressionPlan("Class", "", 0.9))) > 0  # it reads another field


def test_restart_forgets(scene):
    reference = scene.run(settled=False)
    assert searched(scene.run(restart=True)) == searched(reference)


@pytest.mark.parametrize("change", ["raster", "package", "arguments", "extent", "classes"])
def test_nothing_that_changed_is_resumed(scene, change):
    reference = scene.run(settled=False)
    settings = {}
    if change == "raster":
        os.utime(scene.raster, ns=(1, 1))
    elif change == "package":
        (scene.package / "notes.txt").write_text("changed")
    elif change == "classes":
        settings["classes"] = ("Other",)
    elif change == "extent":
        from deep_learning_packages.inference.grid import Window

        settings["extent"] = Window(0, 0, 410, 410)
    if change == "arguments":
        outcome = run(scene.package, scene.raster, "tile 20;padding 7;batch_size 16", sandbox=NO_SANDBOX, **SUPPRESSED)
    else:
        outcome = scene.run(**settings)
    assert searched(outcome) > 0
    assert not any("earlier run" in text for text in outcome.feedback.infos)
    assert searched(scene.run()) == (searched(reference) if change in ("raster", "package") else 0)


def test_statistics_that_qgis_writes_beside_the_raster_change_nothing(scene):
    scene.run(settled=False)
    Path(f"{scene.raster}.aux.xml").write_text("<PAMDataset><Metadata><MDI key='X'>1</MDI></Metadata></PAMDataset>")
    assert searched(scene.run()) == 0


def test_package_that_answers_otherwise_starts_anew(scene):
    """As when its defaults depend on the machine."""
    source = (scene.package / "Function.py").read_text()
    (scene.package / "Function.py").write_text(source.replace('int(scalars["padding"])', "int(self.told('padding') or 8)"))
    scene.run(settled=False)
    scene.tell(padding=6)
    outcome = scene.run()
    assert any("answers other sizes, bands or values now, so the run starts anew" in text for text in outcome.feedback.warnings)
    assert searched(outcome) > 0


def test_second_run_at_the_same_time_says_so(scene):
    reference = scene.run()
    first = make_plan(scene.package, scene.raster, ARGUMENTS, sandbox=NO_SANDBOX, **SUPPRESSED)
    with closing(first.items[0].source), run_plan(first, Recorder()) as result:
        with pytest.raises(JournalError, match="is going on already"):
            scene.run()
        (kept,) = kept_journals()
        assert kept.in_use
        with pytest.raises(JournalError, match="going on at the moment"):
            forget(kept.folder)
        assert result.count == len(reference.rows)
        result.settle()
    assert kept_journals() == []
    assert content(scene.run()) == content(reference)


def test_damaged_journal_is_told_and_made_anew(scene):
    reference = scene.run(settled=False)
    (kept,) = kept_journals()
    (kept.folder / "journal.sqlite").write_bytes(b"not a database" * 1000)
    (listed,) = kept_journals()
    assert listed.done == 0
    outcome = scene.run()
    assert "The journal of an earlier run was damaged, so the run starts anew." in outcome.feedback.warnings
    assert content(outcome) == content(reference)


def test_journal_with_a_damaged_page_names_the_way_out(scene):
    scene.run(settled=False)
    (kept,) = kept_journals()
    path = kept.folder / "journal.sqlite"
    raw = bytearray(path.read_bytes())
    raw[4096 * 3 : 4096 * 5] = b"\xff" * 8192
    path.write_bytes(raw)
    with pytest.raises(JournalError, match="cannot be read: .* malformed.* RESTART to begin anew"):
        scene.run()
    assert len(scene.run(restart=True).rows) > 0


def test_list_and_forget(scene):
    scene.run(settled=False)
    (kept,) = kept_journals()
    assert kept.size > 10_000
    assert abs(kept.changed.timestamp() - time.time()) < 60
    forget(kept.folder)
    assert kept_journals() == []
    assert not kept.folder.exists()


def test_failure_before_the_first_block_leaves_no_journal(scene):
    scene.tell(fail_at=1)
    with pytest.raises(FunctionError) as caught:
        scene.run(extent=None, workers=1)
    assert "are kept" not in str(caught.value) or kept_journals()[0].done > 0  # blocks without data may have been first


def test_room_is_checked_ahead_and_all_along(scene, monkeypatch):
    monkeypatch.setattr(journal_module.shutil, "disk_usage", lambda path: type("Usage", (), {"total": 1 << 40, "free": 1 << 20}))
    with pytest.raises(JournalError, match="Only 1 MiB are free on the disk of .*journals.* 256 MiB must stay free"):
        scene.run()
    assert kept_journals() == []


def test_journal_of_a_dead_process_is_taken_over(scene):
    """The lock is the system's: it ends with the process, however it ends."""
    import subprocess
    import sys

    reference = scene.run(settled=False)
    (kept,) = kept_journals()
    code = (
        "import sys, os, time; sys.path[:0] = sys.argv[1:3]\n"
        "from deep_learning_packages.inference.journal import Journal\n"
        "journal = Journal(sys.argv[3]); print('held', flush=True); time.sleep(60)\n"
    )
    root = Path(__file__).parents[2]
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(root / "build/plugins"), str(root / "tests"), kept.folder.name], stdout=subprocess.PIPE
    )
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(JournalError, match="going on already"):
        scene.run()
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert content(scene.run()) == content(reference)


def test_journal_is_whole_after_every_transaction(cache):
    """Copies of its files at any moment open and hold whole blocks."""
    import shutil

    from deep_learning_packages.inference.blocks import Block
    from deep_learning_packages.inference.grid import Window

    journal = Journal("a" * 64)
    for number in range(50):
        journal.add(Block(Window(number, 0, 1, 1), 0), None, str(number))
        copy = cache / "journals" / ("b" * 32)
        shutil.copytree(journal.folder, copy)
        copied = Journal("b" * 64)
        assert (copied.counts()[0], copied.tally) == (number + 1, str(number))
        copied.remove()
    journal.remove()


def test_blocks_of_a_worker_that_cannot_be_started_again_are_not_lost(scene, monkeypatch):
    """It dies, and memory runs out while it is started anew: the run goes on with a smaller batch, without a hole."""
    from deep_learning_packages.inference.raster_function import RasterFunction

    reference = scene.run(**ALL)
    source = (scene.package / "Function.py").read_text()
    dying = source.replace(
        '        print("searched")\n',
        '        print("searched")\n        if self.count == self.told("die_at"):\n            os.kill(os.getpid(), 9)\n',
    )
    (scene.package / "Function.py").write_text(dying)
    scene.tell(die_at=3)
    restart, failed = RasterFunction.restart, []

    def failing(function, scalars):
        if not failed:
            failed.append(True)
            scene.tell(die_at=None)
            raise OutOfMemoryError("CUDA out of memory")
        return restart(function, scalars)

    monkeypatch.setattr(RasterFunction, "restart", failing)
    outcome = scene.run(**ALL)
    assert failed
    assert any("goes on with batch_size 4" in text for text in outcome.feedback.warnings)
    assert outcome.statistics.pixels == reference.statistics.pixels == 410 * 550
    assert {geometry.wkb for geometry in outcome.geometries} == {geometry.wkb for geometry in reference.geometries}


def test_raster_that_is_replaced_while_the_package_loads(scene, tmp_path, monkeypatch):
    """The journal is named by the raster that was opened; no block of another one gets into it."""
    from deep_learning_packages.inference import driving
    from deep_learning_packages.inference.errors import RasterError

    other = Scene(tmp_path / "other") if (tmp_path / "other").mkdir() is None else None
    agree = driving.agree

    def slow(*arguments):
        os.replace(other.raster, scene.raster)
        return agree(*arguments)

    monkeypatch.setattr(driving, "agree", slow)
    with pytest.raises(RasterError, match="was changed while it was read"):
        scene.run()


@pytest.mark.parametrize("kind", ["vrt of a vrt", "zip"])
def test_change_behind_the_raster_s_own_file(scene, tmp_path, kind):
    """What a virtual raster or an archive is made of belongs to its identity."""
    import zipfile

    from deep_learning_packages.inference.rasters.gdal_raster import GdalRaster
    from osgeo import gdal

    if kind == "zip":
        archive = tmp_path / "scene.zip"
        with zipfile.ZipFile(archive, "w") as zipped:
            zipped.write(scene.raster, "scene.tif")
        path, changed = f"/vsizip/{archive}/scene.tif", archive
    else:
        inner, path, changed = str(tmp_path / "inner.vrt"), str(tmp_path / "outer.vrt"), scene.raster
        for target, source in ((inner, str(scene.raster)), (path, inner)):
            virtual = gdal.Translate(target, source, format="VRT")
            virtual.FlushCache()
            del virtual
    before = GdalRaster(path)
    os.utime(changed, ns=(1, 1))
    assert before.has_changed(before.identity)
    after = GdalRaster(path)
    assert after.identity != before.identity
    for each in (before, after):
        each.close()

"""The algorithm through real qgis_process: the main path, and one clear message for each bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from deep_learning_packages.inference.sandbox import find_sandbox
from leftovers import Leftovers
from osgeo import gdal, ogr
from packages import ORACLE, make_package, zip_package
from qgis_process_runs import SAMPLE, layers, trust
from rasters import draw, write_raster


def test_sample_package_finds_crowns(detect, tmp_path):
    ended = detect(INPUT=SAMPLE / "tree_crowns.tif", MODEL=SAMPLE / "tree_crowns.dlpk", NMS="true", MAX_OVERLAP=0.3)
    assert ended.status == 0, ended.text
    dataset = gdal.OpenEx(str(tmp_path / "output.gpkg"))
    layer = dataset.GetLayer(0)
    definition = layer.GetLayerDefn()
    fields = [definition.GetFieldDefn(i) for i in range(definition.GetFieldCount())]
    assert [(field.GetName(), field.GetTypeName()) for field in fields] == [("Class", "String"), ("Confidence", "Real")]
    assert (layer.GetGeomType(), layer.GetSpatialRef().GetAuthorityCode(None)) == (ogr.wkbPolygon, "32612")
    assert 170 <= layer.GetFeatureCount() <= 200
    assert all(feature["Class"] == "Tree" and 0.35 <= feature["Confidence"] <= 1 for feature in layer)
    for fact in (
        r"Package: Tree crowns (", "sha256 ", "Sandbox: ", "Device: ", "Arguments: padding 64; threshold 0.35",
        "Blocks: 4 of 1024 × 1024 pixels with a padding of 64", "Bands: 1 (Red), 2 (Green), 3 (Blue) of 3, uint8", "Blocks: 4 processed, 0 skipped",
        "after suppression", "megapixels per second", "waited for the worker",
    ):  # fmt: skip
        assert fact in ended.text, fact


@pytest.mark.parametrize("suffix", ["gpkg", "shp", "fgb", "geojson"])
def test_formats(detect, raster, package, tmp_path, suffix):
    output = tmp_path / f"found.{suffix}"
    ended = detect(INPUT=raster, MODEL=package, OUTPUT=output, ARGUMENTS="padding 16", NMS="true")
    assert ended.status == 0, ended.text
    assert layers(output) == {"found": 2}


def test_arguments_as_an_object_from_standard_input(environment, raster, package, tmp_path):
    """JSON on standard input hands over a dict, not text."""
    inputs = {
        "INPUT": str(raster),
        "MODEL": str(package),
        "ARGUMENTS": {"padding": 16, "tile": 40},
        "NMS": True,
        "OUTPUT": str(tmp_path / "o.gpkg"),
    }
    done = subprocess.run(
        ["qgis_process", "run", "dlpk:detectobjects", "-"],
        input=json.dumps({"inputs": inputs}), env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Arguments: tile 40; padding 16" in json.dumps(json.loads(done.stdout), ensure_ascii=False)
    assert layers(tmp_path / "o.gpkg") == {"o": 2}


def test_layer_beside_others_in_a_geopackage(detect, raster, package, tmp_path):
    """A table in an existing GeoPackage leaves the other tables alone."""
    output = tmp_path / "shared.gpkg"
    detect(INPUT=raster, MODEL=package, OUTPUT=output, ARGUMENTS="padding 16", NMS="true")
    ended = detect(
        INPUT=raster, MODEL=package, OUTPUT=f"ogr:dbname='{output}' table=\"second\" (geom)", ARGUMENTS="padding 16", NMS="true"
    )
    assert ended.status == 0, ended.text
    assert layers(output) == {"shared": 2, "second": 2}


def test_extent_in_another_crs_and_cell_size(detect, raster, package, tmp_path):
    from osgeo import osr

    utm, degrees = osr.SpatialReference(), osr.SpatialReference()
    utm.ImportFromEPSG(32633)
    degrees.ImportFromEPSG(4326)
    for reference in (utm, degrees):
        reference.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    to_degrees = osr.CoordinateTransformation(utm, degrees)
    (left, bottom, _), (right, top, _) = to_degrees.TransformPoints([(500005, 3999970), (500020, 3999995)])
    ended = detect(
        INPUT=raster, MODEL=package, EXTENT=f"{left},{right},{bottom},{top} [EPSG:4326]", ARGUMENTS="padding 16", NMS="true"
    )
    assert ended.status == 0, ended.text
    assert layers(tmp_path / "output.gpkg") == {"output": 1}
    ended = detect(INPUT=raster, MODEL=package, CELL_SIZE=0.25, ARGUMENTS="padding 20", OUTPUT=tmp_path / "fine.gpkg")
    assert "cell size 0.25 × 0.25" in ended.text


def test_no_crs_warns_and_runs(detect, package, tmp_path):
    raster = write_raster(tmp_path / "plain.tif", np.zeros((1, 40, 40), np.uint16), epsg=None)
    ended = detect(INPUT=raster, MODEL=package, ARGUMENTS="padding 16")
    assert ended.status == 0
    assert "no CRS" in ended.text


def test_raster_one_pixel_large(detect, package, tmp_path):
    raster = write_raster(tmp_path / "one.tif", np.ones((1, 1, 1), np.uint16))
    assert detect(INPUT=raster, MODEL=package, ARGUMENTS="padding 16").status == 0


def programs_without_bubblewrap(folder: Path) -> Path:
    programs = folder / "programs"
    programs.mkdir()
    for program in Path("/usr/bin").iterdir():
        if program.name != "bwrap":
            (programs / program.name).symlink_to(program)
    return programs


def test_without_bubblewrap_it_runs_what_is_trusted(detect, environment, raster, tmp_path):
    package = make_package(tmp_path / "stranger", ORACLE)
    without = {"PATH": str(programs_without_bubblewrap(tmp_path))}
    ended = detect(without, INPUT=raster, MODEL=package, ARGUMENTS="padding 16")
    assert ended.status == 1
    assert "as bubblewrap is not installed, so it runs only if you trust it" in ended.errors[0]
    assert f"qgis_process run dlpk:inspectpackage --MODEL={package} --RUN_CODE=false" in ended.errors[0]
    told = trust(environment, package)
    assert "The package Package is trusted from now on, sha256 " in told.text
    ended = detect(without, INPUT=raster, MODEL=package, ARGUMENTS="padding 16")
    assert ended.status == 0, ended.text
    assert "runs without a sandbox, with all your rights, as bubblewrap is not installed" in ended.text


def test_duplicates_are_told_when_suppression_is_off(detect, tmp_path, package):
    pixels = np.zeros((1, 64, 64), np.uint16)
    draw(pixels[0], (28, 28, 36, 36), 1)
    raster = write_raster(tmp_path / "r.tif", pixels)
    ended = detect(INPUT=raster, MODEL=package, ARGUMENTS="padding 16")
    assert "3 detections overlap a better one of a neighbouring block" in ended.text
    assert layers(tmp_path / "output.gpkg") == {"output": 4}


def test_auto_says_why_it_uses_the_cpu(detect, raster, package):
    if Path("/dev/nvidia0").exists():
        pytest.skip("this machine has a GPU")
    ended = detect(INPUT=raster, MODEL=package, ARGUMENTS="padding 16", PROCESSOR="AUTO")
    assert "Device: CPU, because no driver of an NVIDIA or AMD GPU was found" in ended.text


def sandboxed_workers(package: Path) -> list[str]:
    """Processes whose command line shows them the package, as bubblewrap's does."""
    shown = [line for line in Leftovers.now().names if line.startswith("process")]
    return [line for line in shown if str(package) in line]


def test_control_c_ends_the_run_within_a_second(environment, tmp_path, raster):
    """The status is not 0, the worker is gone, nothing was written."""
    package = make_package(tmp_path / "slow", "def vectorize(self, **blocks):\n    import time\n    time.sleep(60)\n")
    if find_sandbox().program is None:
        trust(environment, package)
    process = subprocess.Popen(
        ["qgis_process", "run", "dlpk:detectobjects", f"--INPUT={raster}", f"--MODEL={package}", f"--OUTPUT={tmp_path / 'o.gpkg'}"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    end = time.monotonic() + 30
    while not sandboxed_workers(package) and time.monotonic() < end:
        time.sleep(0.05)
    assert sandboxed_workers(package) or find_sandbox().program is None
    time.sleep(2)
    sent = time.monotonic()
    process.send_signal(signal.SIGINT)
    said = process.stdout.read()
    assert process.wait(timeout=30) not in (0, -signal.SIGINT)
    assert time.monotonic() - sent < 1.0 + 1.5  # QGIS takes its own time to close
    assert "The run was cancelled" in said
    assert not sandboxed_workers(package)
    assert not (tmp_path / "o.gpkg").exists()


def test_control_c_keeps_what_was_found(detect, environment, tmp_path):
    """The message says so, and the same command goes on; RESTART would not."""
    slow = ORACLE.replace(
        "    def find(self, pixels, mask):\n", "    def find(self, pixels, mask):\n        __import__('time').sleep(0.05)\n"
    )
    pixels = np.zeros((1, 320, 320), np.uint16)
    draw(pixels[0], (5, 5, 12, 12), 1)
    given = {"INPUT": write_raster(tmp_path / "raster.tif", pixels), "MODEL": make_package(tmp_path / "slow", slow)}
    if find_sandbox().program is None:
        trust(environment, given["MODEL"])
    command = ["qgis_process", "run", "dlpk:detectobjects", *(f"--{name}={value}" for name, value in given.items())]
    process = subprocess.Popen(
        [*command, f"--OUTPUT={tmp_path / 'output.gpkg'}"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    journals = Path(environment["DLPK_CACHE"]) / "journals"
    before = set(journals.glob("*"))
    end = time.monotonic() + 30
    while not set(journals.glob("*")) - before and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(2.5)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=30)[0]
    assert "of 100 blocks are kept: run it again with the same inputs to go on from there." in said
    assert not (tmp_path / "output.gpkg").exists()
    ended = detect(**given)
    assert ended.status == 0, ended.text
    assert "Going on with an earlier run: " in ended.text
    assert layers(tmp_path / "output.gpkg") == {"output": 1}
    assert set(journals.glob("*")) <= before
    assert "earlier run" not in detect(**given, RESTART="true").text


def bad_package(methods="", definition=None, code=None):
    return lambda folder: {"MODEL": make_package(folder / "bad", methods, definition, code)}


def bad_file(name, content):
    def make(folder):
        (folder / name).write_bytes(content)
        return {"MODEL": folder / name}

    return make


def bad_archive(**members):
    def make(folder):
        import zipfile

        with zipfile.ZipFile(folder / "bad.dlpk", "w") as zipped:
            for name, content in members.items():
                zipped.writestr(name.replace("__", "../") + ".emd" * (not name.startswith("__")), content)
        return {"MODEL": folder / "bad.dlpk"}

    return make


def truncated(folder):
    path = zip_package(make_package(folder / "whole"), folder / "bad.dlpk")
    os.truncate(path, path.stat().st_size * 2 // 3)
    return {"MODEL": path}


def folder_in_a_file(folder):
    (folder / "file").write_text("")
    return {"OUTPUT": folder / "file" / "output.gpkg"}


def read_only_folder(folder):
    return {"OUTPUT": "/proc/output.gpkg"}


def existing_output(folder):
    (folder / "output.gpkg").write_bytes(b"precious")
    return {"ARGUMENTS": "padding wide"}


THIRD = """
def vectorize(self, **blocks):
    self.count = getattr(self, "count", 0) + 1
    if self.count == 3:
        raise ValueError("the third block")
    return {"output_vectors": '{"features": []}'}
"""
BAD = {
    "not a zip": (bad_file("bad.dlpk", b"hello"), "is no deep learning package: it is neither a zip nor a 7-Zip archive"),
    "truncated zip": (truncated, "cannot be unpacked: .*download it again"),
    "zip with ../": (bad_archive(__evil="x", good="{}"), r"its member '\.\./evil' would be written outside"),
    "no .emd": (lambda folder: {"MODEL": (folder / "empty").mkdir() or folder / "empty"}, "holds no model definition"),
    "two .emd": (bad_archive(one="{}", two="{}"), "holds several model definitions: one.emd, two.emd"),
    "invalid JSON": (bad_archive(one='{"a": }'), "line 1, column 7: not valid JSON"),
    "missing keys": (bad_archive(one="{}"), "neither InferenceFunction .* nor ModelConfiguration"),
    "no function file": (bad_archive(one='{"InferenceFunction": "gone.py"}'), "InferenceFunction names 'gone.py', but there is no such"),
    "syntax error": (bad_package(code="def oops(:\n"), "import of the package failed: .*SyntaxError"),
    "missing library": (bad_package(code="import no_such_library\n"), "needs the Python library no_such_library"),
    "class not found": (bad_package(code="x = 1\n"), "Function.py has no class named Function"),
    "initialize raises": (bad_package("def initialize(self, **s):\n    raise OSError('gone')\n"), r"initialize\(\) of the package failed: OSError: gone"),
    "negative tile": (bad_package("def getConfiguration(self, **s):\n    return {'tx': -8, 'ty': 8}\n"), "value -8 of tx cannot be used"),
    "padding of half the tile": (lambda folder: {"ARGUMENTS": "padding 128"}, "less than half of the model's input of 256 pixels"),
    "band out of range": (bad_package(definition={"ExtractBands": [0, 3]}), r"wants band 4, but the raster has 1 band"),
    "vectorize returns None": (bad_package("def vectorize(self, **b):\n    pass\n"), r"vectorize\(\) returned nothing"),
    "not JSON": (bad_package("def vectorize(self, **b):\n    return {'output_vectors': 'x'}\n"), "feature set as JSON"),
    "wrong keys": (bad_package("def vectorize(self, **b):\n    return {'vectors': 'x'}\n"), r"returned the keys \['vectors'\]"),
    "raises on the third block": (bad_package(THIRD), "At the block at column .*ValueError: the third block"),
    "worker always killed": (bad_package("def vectorize(self, **b):\n    os.kill(os.getpid(), 9)\n"), r"ended: killed \(SIGKILL\)"),
    "raster missing": (lambda folder: {"INPUT": folder / "gone.tif"}, "The raster .*gone.tif cannot be opened"),
    "extent outside": (lambda folder: {"EXTENT": "0,1,0,1 [EPSG:32633]"}, "does not touch the raster"),
    "no output folder": (lambda folder: {"OUTPUT": folder / "gone" / "o.gpkg"}, "output folder .*gone does not exist"),
    "output folder is a file": (folder_in_a_file, "output folder .*file does not exist"),
    "output folder not writable": (read_only_folder, "output folder /proc cannot be written"),
    "overlap of 1.5": (lambda folder: {"MAX_OVERLAP": 1.5}, r"a number, from 0 to 1, but 1\.5 was given"),
    "cell size that is no number": (lambda folder: {"CELL_SIZE": "abc"}, r"cell size .*\(CELL_SIZE\) must be a number, 0 or more, but abc"),
    "answered padding of half the tile": (bad_package("def getConfiguration(self, **s):\n    return {'tx': 8, 'ty': 8, 'padding': 128}\n"), "less than half of the model's input"),
    "argument of a wrong type": (lambda folder: {"ARGUMENTS": "padding wide"}, "padding must be a number, but 'wide' was given"),
    "NMS without its field": (lambda folder: {"NMS": "true", "CONFIDENCE_FIELD": "Score"}, "CONFIDENCE_FIELD is Score, but the model gives only these fields: Class, Confidence"),
    "no GPU": (lambda folder: {"PROCESSOR": "GPU"}, "a GPU was asked for, but"),
    "model missing": (lambda folder: {"MODEL": folder / "gone.dlpk"}, "package .*gone.dlpk does not exist"),
    "existing output is kept": (existing_output, "padding must be a number"),
}  # fmt: skip


MALFORMED = ("truncated zip", "zip with ../", "two .emd", "invalid JSON", "missing keys", "no function file")


@pytest.mark.parametrize("name", list(BAD))
def test_bad_input(detect, raster, package, tmp_path, name):
    import re

    if name == "no GPU" and Path("/dev/nvidia0").exists():
        pytest.skip("this machine has a GPU")
    make, message = BAD[name]
    parameters = {"INPUT": raster, "MODEL": package, **make(tmp_path)}
    packages = Path(os.environ["DLPK_CACHE"], "packages")
    good = {path.name for path in packages.glob("*")}
    ended = detect(**parameters)
    assert ended.status not in (0, 139, 134), ended.text
    assert re.search(message, ended.text), ended.text
    assert len(ended.errors) <= 1, ended.text
    if name in MALFORMED:
        assert {path.name for path in packages.glob("*")} == good
    output = tmp_path / "output.gpkg"
    assert not output.exists() or output.read_bytes() == b"precious"


def call(environment, *arguments, **keywords):
    return subprocess.run(
        ["qgis_process", *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **keywords,
    )


def test_inspect_package_as_json(environment):
    done = call(environment, "--json", "run", "dlpk:inspectpackage", f"--MODEL={SAMPLE / 'tree_crowns.dlpk'}")
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]
    assert [each["name"] for each in results["ARGUMENTS"]] == ["padding", "threshold", "nms_overlap", "batch_size"]
    assert results["CLASSES"][0]["color"] == [76, 175, 80]


def test_inspect_package_without_torch(environment, tmp_path):
    """A Python that has nothing but numpy tells what the files hold, and that torch is missing."""
    if subprocess.run(["/usr/bin/python3", "-sE", "-c", "import torch"], capture_output=True, check=False).returncode == 0:
        pytest.skip("the system's own Python has torch")
    bare = tmp_path / "python"
    bare.write_text('#!/bin/sh\nexec /usr/bin/python3 -s "$@"\n')
    bare.chmod(0o755)
    done = call(
        {**environment, "DLPK_PYTHON": str(bare)},
        "--json",
        "run",
        "dlpk:inspectpackage",
        f"--MODEL={SAMPLE / 'tree_crowns.dlpk'}",
        "--RUN_CODE=false",
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]
    assert (results["CLASS_COUNT"], results["MISSING"]) == (1, ["torch"])
    assert "pip install torch" in results["PROBLEMS"][0]


def test_help_reads_as_documentation(environment):
    """Every parameter has its explanation; the syntax of arguments is shown by an example."""
    done = call(environment, "--json", "help", "dlpk:detectobjects")
    parameters = json.loads(done.stdout)["parameters"]
    assert all(each["help"] for each in parameters.values()), [name for name, each in parameters.items() if not each["help"]]
    assert "threshold 0.5;padding 64;text_prompt 'car, bus; van'" in parameters["ARGUMENTS"]["help"]
    assert '{"threshold": 0.5, "padding": 64}' in parameters["ARGUMENTS"]["help"]


def test_a_saved_model(environment, tmp_path, qgis_processing):
    """Detect, then centroids, from a .model3 file."""
    from qgis.core import (
        QgsProcessingModelAlgorithm,
        QgsProcessingModelChildAlgorithm,
        QgsProcessingModelChildParameterSource,
        QgsProcessingModelOutput,
        QgsProcessingModelParameter,
        QgsProcessingParameterRasterLayer,
    )

    source = QgsProcessingModelChildParameterSource
    model = QgsProcessingModelAlgorithm("crowns", "")
    model.addModelParameter(QgsProcessingParameterRasterLayer("image"), QgsProcessingModelParameter("image"))
    detect = QgsProcessingModelChildAlgorithm("dlpk:detectobjects")
    detect.setChildId("detect")
    detect.addParameterSources("INPUT", [source.fromModelParameter("image")])
    detect.addParameterSources("MODEL", [source.fromStaticValue(str(SAMPLE / "tree_crowns.dlpk"))])
    detect.addParameterSources("ARGUMENTS", [source.fromStaticValue('{"threshold": 0.6}')])
    model.addChildAlgorithm(detect)
    points = QgsProcessingModelChildAlgorithm("native:centroids")
    points.setChildId("points")
    points.addParameterSources("INPUT", [source.fromChildOutput("detect", "OUTPUT")])
    output = QgsProcessingModelOutput("found", "found")
    output.setChildId("points")
    output.setChildOutputName("OUTPUT")
    points.setModelOutputs({"found": output})
    model.addChildAlgorithm(points)
    assert model.toFile(str(tmp_path / "crowns.model3"))
    destination = model.destinationParameterDefinitions()[0].name()
    values = [f"--image={SAMPLE / 'tree_crowns.tif'}", f"--{destination}={tmp_path / 'f.gpkg'}"]
    done = call(environment, "run", tmp_path / "crowns.model3", *values)
    assert done.returncode == 0, done.stdout + done.stderr
    assert 20 < sum(layers(tmp_path / "f.gpkg").values()) < 120


def test_classes_of_interest(detect, tmp_path, raster):
    """Names that the model does not know are refused with those that it knows."""
    package = make_package(tmp_path / "p", ORACLE, {"Classes": [{"Value": 1, "Name": "Box"}, {"Value": 2, "Name": "Bag"}]})
    assert detect(INPUT=raster, MODEL=package, CLASSES="box", ARGUMENTS="tile 256").status == 0
    assert layers(tmp_path / "output.gpkg") == {"output": 2}
    ended = detect(INPUT=raster, MODEL=package, CLASSES="Box;Crate", OUTPUT=tmp_path / "other.gpkg")
    assert ended.status == 1
    assert "CLASSES names Crate, but the classes of the model are: Box, Bag" in ended.text
    assert not (tmp_path / "other.gpkg").exists()


def test_unknown_argument_warns(detect, raster, package):
    ended = detect(INPUT=raster, MODEL=package, ARGUMENTS="padding 16;paddign 3")
    assert ended.status == 0
    assert "does not know the argument(s) paddign" in ended.text


def test_worker_killed_once(detect, environment, raster, tmp_path):
    """Killed from outside, as the kernel does when memory runs out: the run goes on."""
    mark = tmp_path / "mark"
    methods = f"def vectorize(self, **b):\n    if not os.path.exists({str(mark)!r}):\n        open({str(mark)!r}, 'w').close()\n        os.kill(os.getpid(), 9)\n    return {{'output_vectors': '{{\"features\": []}}'}}\n"
    programs = programs_without_bubblewrap(tmp_path)  # in the sandbox the function could not leave its mark
    package = make_package(tmp_path / "p", methods)
    trust(environment, package)
    ended = detect({"PATH": str(programs)}, INPUT=raster, MODEL=package)
    assert ended.status == 0, ended.text
    assert "It is started again, and its blocks are repeated" in ended.text


def test_loads_without_torch_and_shapely(environment, raster, package, tmp_path):
    """In a bare QGIS the provider is there, and the run says what is missing."""
    bare = {name: value for name, value in environment.items() if name not in ("PYTHONPATH", "DLPK_PYTHON")}
    bare["PYTHONPATH"] = str(tmp_path / "stubs")
    (tmp_path / "stubs" / "shapely").mkdir(parents=True)
    (tmp_path / "stubs" / "shapely" / "__init__.py").write_text("raise ModuleNotFoundError('not here')\n")
    listed = subprocess.run(["qgis_process", "list"], env=bare, capture_output=True, text=True, timeout=60, check=False)
    assert "dlpk:detectobjects" in listed.stdout
    assert "Traceback" not in listed.stdout + listed.stderr
    done = subprocess.run(
        ["qgis_process", "run", "dlpk:detectobjects", f"--INPUT={raster}", f"--MODEL={package}", f"--OUTPUT={tmp_path / 'o.gpkg'}"],
        env=bare, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "shapely 2 is needed in QGIS's own Python, which has none" in done.stdout + done.stderr

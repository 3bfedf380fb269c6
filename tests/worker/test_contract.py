"""One synthetic package for each odd case that CONTRACT.md names; each runs in a real worker."""

from __future__ import annotations

import json

import numpy as np
import pytest
from deep_learning_packages.inference.errors import FunctionError
from deep_learning_packages.inference.plan import SuppressionPlan
from engine_runs import run
from packages import make_package
from rasters import write_raster

SEEN = """
def find(self, pixels, mask):
    seen = {"shape": pixels.shape, "dtype": str(pixels.dtype), "mask_shape": mask.shape, "mask_dtype": str(mask.dtype),
            "contiguous": bool(pixels.flags.c_contiguous), "first": pixels[:, 0, 0].tolist(), "valid": int(mask.sum()),
            "corner": float(pixels.min()), "greatest": float(pixels.max())}
    pixels[mask == 0] = 0
    yield [[0, 0], [1, 0], [1, 1]], 0.5, {"Seen": json.dumps(seen)}

def feature(self, ring, confidence, extra):
    return {"attributes": extra, "geometry": {"rings": [ring]}}
"""


@pytest.fixture
def raster(tmp_path):
    return write_raster(tmp_path / "raster.tif", np.arange(3 * 20 * 30, dtype=np.uint16).reshape(3, 20, 30))


def seen(package, raster, arguments="", **settings):
    """What the function saw of its first block."""
    return json.loads(run(package, raster, arguments, **settings).rows[0]["Seen"])


def test_blocks_are_writable_whole_and_of_the_raster_s_dtype(tmp_path, raster):
    """3.4: always three dimensions, C-contiguous, the mask alike, zero and masked outside the raster."""
    found = seen(make_package(tmp_path / "p", SEEN), raster, "tile 16;padding 4")
    assert found["shape"] == found["mask_shape"] == [3, 24, 24]
    assert (found["dtype"], found["mask_dtype"], found["contiguous"]) == ("uint16", "uint8", True)
    assert found["valid"] == 3 * 20 * 20
    assert found["first"] == [0, 0, 0]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "int32", "float32", "float64"])
def test_native_dtypes(tmp_path, dtype):
    raster = write_raster(tmp_path / "r.tif", np.full((1, 8, 8), 7, dtype))
    found = seen(make_package(tmp_path / "p", SEEN), raster)
    assert (found["dtype"], found["shape"], found["greatest"]) == (dtype, [1, 32, 32], 7)


def test_bands_are_chosen_and_ordered(tmp_path, raster):
    package = make_package(tmp_path / "p", SEEN, {"ExtractBands": [2, 0]})
    assert seen(package, raster)["first"] == [1200, 0]


def test_bands_by_name_from_the_configuration(tmp_path):
    raster = write_raster(
        tmp_path / "r.tif", np.arange(3 * 64, dtype=np.uint8).reshape(3, 8, 8), band_names=("Red", "NIR", "Blue")
    )
    code = SEEN + '\ndef getConfiguration(self, **s):\n    return {"tx": 8, "ty": 8, "padding": 0, "extractBands": ("nir", 0)}\n'
    assert seen(make_package(tmp_path / "p", code), raster)["first"] == [64, 0]


def test_alpha_nodata_and_nan_become_the_mask(tmp_path):
    package = make_package(tmp_path / "p", SEEN, {"ExtractBands": [0]})
    rgba = np.full((4, 8, 8), 9, np.uint8)
    rgba[3, :4] = 0
    assert seen(package, write_raster(tmp_path / "a.tif", rgba, alpha=True), "tile 8")["valid"] == 32
    plain = np.full((1, 8, 8), 9, np.int16)
    plain[0, :2] = -1
    assert seen(package, write_raster(tmp_path / "n.tif", plain, nodata=-1), "tile 8")["valid"] == 48
    real = np.full((1, 8, 8), 9, np.float32)
    real[0, 0] = np.nan
    found = seen(package, write_raster(tmp_path / "f.tif", real), "tile 8")
    assert (found["valid"], found["corner"]) == (56, 0.0)


def test_blocks_without_data_are_not_sent(tmp_path):
    pixels = np.zeros((1, 40, 40), np.uint8)
    pixels[0, :8, :8] = 5
    raster = write_raster(tmp_path / "r.tif", pixels, nodata=0)
    outcome = run(make_package(tmp_path / "p", SEEN), raster, "tile 10")
    assert (len(outcome.rows), outcome.statistics.blocks, outcome.statistics.skipped) == (1, 16, 15)


def test_data_range_scales_from_the_raster_s_range(tmp_path):
    """3.4: to float32, with stored statistics where there are any, else 8 bit by type, else what a sample shows."""
    code = SEEN + '\ndef getConfiguration(self, **s):\n    return {"tx": 8, "ty": 8, "padding": 0, "dataRange": (0, 1)}\n'
    package = make_package(tmp_path / "p", code)
    pixels = np.linspace(100, 1100, 64).reshape(1, 8, 8)
    sampled = seen(package, write_raster(tmp_path / "s.tif", pixels.astype(np.uint16)))
    assert (sampled["dtype"], sampled["corner"], sampled["greatest"]) == ("float32", 0, 1)
    byte = seen(package, write_raster(tmp_path / "b.tif", np.full((1, 8, 8), 51, np.uint8)))
    assert byte["greatest"] == pytest.approx(0.2)
    from osgeo import gdal

    stated = write_raster(tmp_path / "t.tif", pixels.astype(np.uint16))
    dataset = gdal.Open(str(stated), gdal.GA_Update)
    dataset.GetRasterBand(1).SetStatistics(0, 2200, 500, 10)
    dataset = None
    assert seen(package, stated)["greatest"] == pytest.approx(0.5)


VALUES = """
def initialize(self, **scalars):
    self.initial = dict(scalars)

def vectorize(self, **blocks):
    told = json.dumps({"initial": self.initial, "scalars": self.scalars, "names": sorted(blocks), "folder": os.getcwd()})
    attributes = {"Told": told}
    return {"output_vectors": json.dumps({"features": [{"attributes": attributes, "geometry": {"rings": [[[0, 0], [1, 0], [1, 1]]]}}]})}
"""


def test_order_and_kind_of_values(tmp_path, raster):
    """3.1, 4.3: text everywhere but the device; initialize sees the user's own; the folder is the definition's."""
    package = make_package(tmp_path / "p", VALUES)
    told = json.loads(run(package, raster, {"tile": 64.0, "extra": True}).rows[0]["Told"])
    path = str(package / "Package.emd")
    assert told["initial"] == {"tile": "64", "extra": "True", "model": path, "device": -1}
    assert told["scalars"] == {"tile": "64", "padding": "0", "extra": "True", "model": path, "device": -1}
    assert told["names"] == ["raster_mask", "raster_pixels"]
    assert told["folder"] == str(package)


def test_unknown_argument_warns_and_is_handed_over(tmp_path, raster):
    outcome = run(make_package(tmp_path / "p", VALUES), raster, "tiel 64")
    assert any("tiel" in text and "tile, padding" in text for text in outcome.feedback.warnings)
    assert json.loads(outcome.rows[0]["Told"])["scalars"]["tiel"] == "64"


def test_other_name_of_the_raster_parameter(tmp_path, raster):
    code = (
        VALUES
        + '\ndef getParameterInfo(self):\n    return [{"name": "image", "dataType": "raster", "required": True}, {"name": "tile", "value": 32},\n            {"name": "padding", "value": 0}]\n'
    )
    told = json.loads(run(make_package(tmp_path / "p", code), raster).rows[0]["Told"])
    assert told["names"] == ["image_mask", "image_pixels"]


ODD_ENTRIES = """
def getParameterInfo(self):
    import numpy
    return ({"name": "raster", "dataType": "raster", "value": None}, {"name": "tile", "dataType": "numeric", "value": numpy.int64(16)},
            {"name": "padding", "dataType": "GPLong", "value": 4.0, "domain": (0, numpy.float32(64))}, {"name": "nothing", "value": None})

def getConfiguration(self, **scalars):
    import numpy
    self.scalars = scalars
    return {"tx": numpy.int32(scalars["tile"]), "ty": 16.0, "padding": numpy.int64(int(scalars["padding"])), "batch_size": 1, "byRef": object()}

def getFields(self):
    entry = {"name": "Class", "type": "esriFieldTypeString"}
    return [entry, entry, {"name": "OID", "type": "esriFieldTypeOID"}]

def vectorize(self, **blocks):
    print("printed by the package")
    import os
    os.write(1, b"written by native code\\n")
    return {"output_vectors": '{"features": [{"attributes": {"class": NaN, "OID": 1}, "geometry": {"rings": [[[0,0],[1,0],[1,1]]]}}]}'}
"""


def test_numpy_tuples_and_prints(tmp_path, raster):
    """3.2, 3.3, 3.5: numpy's numbers, tuples, a bare list of fields; prints go to the log and never into the protocol."""
    outcome = run(make_package(tmp_path / "p", ODD_ENTRIES), raster)
    assert [field.name for field in outcome.fields] == ["Class"]
    assert "printed by the package" in outcome.feedback.details
    assert "written by native code" in outcome.feedback.details


@pytest.mark.parametrize("geometry", ["vectors as an object", "vectors as bytes"])
def test_output_vectors_that_are_no_text(tmp_path, raster, geometry):
    value = '{"features": []}' if "object" in geometry else "b'{\"features\": []}'"
    code = f"def vectorize(self, **blocks):\n    return {{'output_vectors': {value}}}\n"
    assert run(make_package(tmp_path / "p", code), raster).rows == []


def test_class_by_module_name_else_the_only_function(tmp_path, raster):
    """3.0: draft templates hold a class that is not named like their file."""
    package = make_package(tmp_path / "p")
    source = (package / "Function.py").read_text()
    (package / "Function.py").write_text(
        source.replace("class Function:", "class ObjectDetector:") + "\n\nclass Helper:\n    pass\n"
    )
    assert run(package, raster).statistics.blocks == 1
    (package / "Function.py").write_text(source.replace("class Function:", "class A:") + "\n\nclass B(A):\n    pass\n")
    with pytest.raises(FunctionError, match="no class named Function, and several could be meant: A, B"):
        run(package, raster)


def test_siblings_with_our_names(tmp_path, raster):
    """A package's own modules may be named like ours, and like those that we stand in for."""
    package = make_package(tmp_path / "p", code="import protocol, host, loader, device, fields, worker\n" + source_of(tmp_path))
    for name in ("protocol", "host", "loader", "device", "worker"):
        (package / f"{name}.py").write_text("OWN = True\n")
    (package / "fields.py").write_text("fields = {'fields': [{'name': 'Mine', 'type': 'esriFieldTypeString'}]}\n")
    with (package / "Function.py").open("a") as file:
        file.write(
            "\n    def getFields(self):\n        assert protocol.OWN and host.OWN and loader.OWN and device.OWN and worker.OWN\n        return json.dumps(fields.fields)\n"
        )
    assert [field.name for field in run(package, raster).fields] == ["Mine"]


def source_of(tmp_path):
    return (make_package(tmp_path / "source") / "Function.py").read_text()


SAMPLE_STYLE = """
def initialize(self, **scalars):
    import sys
    sys.path.append(os.path.dirname(__file__))
    import arcpy
    import prf_utils
    from attribute_table import attribute_table
    from features import features
    from fields import fields
    self.fields, self.features, self.prf = fields, features, prf_utils
    arcpy.AddMessage("a message")
    assert arcpy.env.processorType == "CPU"
    assert isinstance(1.0, np.float) and np.bool in (bool, np.bool_)
    assert attribute_table["features"] == []
    try:
        arcpy.GetCount_management
    except AttributeError as error:
        assert "arcpy.GetCount_management is not available" in str(error)
    else:
        raise RuntimeError("arcpy pretends to be whole")

def getFields(self):
    return json.dumps(self.fields)

def vectorize(self, **blocks):
    batch, rows, columns = self.prf.tile_to_batch(blocks["raster_pixels"], 16, 16, 0, True, batch_height=2, batch_width=2)
    assert batch.shape == (4, 3, 16, 16) and (self.prf.batch_to_tile(batch, 2, 2) == blocks["raster_pixels"]).all()
    boxes = [np.array([[1.0, 2.0, 3.0, 4.0]])] * 4
    polygons, scores, classes = self.prf.batch_detection_results_to_tile_results(boxes, [np.array([0.5])] * 4, [np.array([1])] * 4, 16, 16, 0, 2)
    self.features["features"] = [
        {"attributes": {"Class": str(c), "Confidence": s}, "geometry": {"rings": [[[x, y] for y, x in p.tolist()]]}}
        for p, s, c in zip(polygons, scores.tolist(), classes.tolist())]
    return {"output_vectors": json.dumps(self.features)}
"""


def test_block_beyond_the_raster_is_zero_also_when_scaled(tmp_path):
    """3.3: zero-filled and masked outside the raster."""
    code = SEEN + '\ndef getConfiguration(self, **s):\n    return {"tx": 8, "ty": 8, "padding": 4, "dataRange": (1, 2)}\n'
    raster = write_raster(tmp_path / "r.tif", np.full((1, 8, 8), 255, np.uint8))
    found = seen(make_package(tmp_path / "p", code), raster)
    assert (found["corner"], found["greatest"], found["valid"]) == (0, 2, 64)


def test_batches_are_rounded_down_to_a_square(tmp_path, raster):
    """3.4: some functions assume that the root of batch_size is whole."""
    code = (
        VALUES
        + '\ndef getParameterInfo(self):\n    return [{"name": "tile", "value": 32}, {"name": "padding", "value": 0}, {"name": "batch_size", "dataType": "numeric", "value": 6}]\n'
    )
    outcome = run(make_package(tmp_path / "p", code), raster)
    assert json.loads(outcome.rows[0]["Told"])["scalars"]["batch_size"] == "4"
    assert "batch_size 6 is rounded down to a square, 4." in outcome.feedback.warnings


def test_class_field_that_is_not_declared_but_given(tmp_path, raster):
    """3.5: draft templates give Classvalue without declaring it."""
    methods = "\n    def find(self, pixels, mask):\n        yield [[0, 0], [4, 0], [4, 4]], 0.5\n\n    def feature(self, ring, confidence):\n        return super_feature(ring, confidence)\n\n\ndef super_feature(ring, confidence):\n    return {'attributes': {'Confidence': confidence, 'Classvalue': 1}, 'geometry': {'rings': [ring]}}\n"
    outcome = run(make_package(tmp_path / "p", methods), raster, suppression=SuppressionPlan("Confidence", "Classvalue", 0.0))
    assert [row["Classvalue"] for row in outcome.rows] == [1]
    assert any("CLASS_FIELD is Classvalue, which the model does not declare" in text for text in outcome.feedback.warnings)


def test_packages_in_the_style_of_esri_s_samples(tmp_path, raster):
    """5.2: arcpy's stand-in, the sample modules, numpy's old names."""
    outcome = run(make_package(tmp_path / "p", SAMPLE_STYLE), raster)
    assert "a message" in outcome.feedback.details
    assert [row["Class"] for row in outcome.rows] == ["1"] * 4
    left, top, *_ = outcome.geometries[0].bounds
    assert (left, outcome.geometries[0].area) == (500000 + 2 * 0.5, 4 * 0.25)


@pytest.mark.parametrize(("batch", "expected"), [(1, (1, 1)), (2, (1, 2)), (4, (2, 2)), (6, (2, 3)), (5, (5, 1)), (64, (8, 8))])
def test_rectangles_of_batches(batch, expected):
    """3.4, measured with Esri's own module."""
    from deep_learning_packages.worker.shims.modules import prf_utils

    assert prf_utils.calculate_rectangle_size_from_batch_size(batch) == expected


CHILD = """
import numpy as np

class ChildObjectDetector:
    def initialize(self, model, model_as_file):
        assert model_as_file and model.endswith(".emd")

    def getParameterInfo(self, required_parameters):
        more = [{"name": "own", "dataType": "numeric", "value": 1}, {"name": "padding", "dataType": "numeric", "value": 4}]
        return required_parameters + more

    def getConfiguration(self, **scalars):
        self.threshold = float(scalars["score_threshold"])
        assert scalars["own"] == "1" and scalars["padding"] == "4"  # the child's own default, not the wrapper's
        return {"tx": 32, "ty": 32, "padding": int(scalars["padding"]), "batch_size": int(scalars["batch_size"])}

    def vectorize(self, **blocks):
        outline = np.array([[1, 2], [1, 6], [4, 6], [4, 2]])
        return [outline, outline + 8], np.array([self.threshold, 0.9]), np.array([1, 2])
"""


@pytest.mark.parametrize("function", [None, "[Functions]System\\DeepLearning\\ObjectDetector.py"])
@pytest.mark.parametrize("place", ["MyFramework/Net.py", "Net.py"])
def test_built_in_detector_drives_a_child(tmp_path, raster, function, place):
    """2, 5.2: no function of its own, or a token: the child that Framework and ModelConfiguration name."""
    classes = [{"Value": 7, "Name": "First"}, {"Value": 9, "Name": "Second"}]
    definition = {
        "InferenceFunction": function,
        "Framework": "MyFramework",
        "ModelConfiguration": {"Name": "Net"},
        "Classes": classes,
    }
    package = make_package(tmp_path / "p", definition=definition)
    (package / "Function.py").unlink()
    (package / place).parent.mkdir(exist_ok=True)
    (package / place).write_text(CHILD)
    outcome = run(package, raster, "score_threshold 0.25")
    assert [(row["Class"], row["Confidence"]) for row in outcome.rows] == [("First", 0.25), ("Second", 0.9)]
    assert outcome.geometries[0].bounds == (500001.0, 4000000 - 2.0, 500003.0, 4000000 - 0.5)


def test_child_of_esri_s_library_is_named(tmp_path, raster):
    definition = {
        "InferenceFunction": "[Functions]System\\DeepLearning\\ArcGISLearn\\ArcGISObjectDetector.py",
        "Framework": "arcgis.learn.models._inferencing", "ModelConfiguration": "_DynamicSSD",
    }  # fmt: skip
    with pytest.raises(FunctionError, match=r"needs the Python library arcgis.*_DynamicSSD"):
        run(make_package(tmp_path / "p", definition=definition), raster)


@pytest.mark.parametrize(
    ("methods", "message", "in_details"),
    [
        ("def initialize(self, **scalars):\n    import no_such_library.part\n", "needs the Python library no_such_library, .*-m pip install", "Function.py"),
        ("def initialize(self, **scalars):\n    raise ValueError('bad weights')\n", r"initialize\(\) of the package failed: ValueError: bad weights", "raise ValueError"),
        ("def initialize(self, **scalars):\n    raise SystemExit(3)\n", r"initialize\(\) of the package failed: SystemExit", ""),
        ("def getConfiguration(self, **scalars):\n    return scalars['absent']\n", r"getConfiguration\(\) of the package failed: KeyError", ""),
        ("def getFields(self):\n    return 'oops'\n", r"getFields\(\) of the package failed: .*JSONDecodeError", ""),
        ("def vectorize(self, **blocks):\n    return None\n", r"column 0, row 0: vectorize\(\) returned nothing", ""),
        ("def vectorize(self, **blocks):\n    return {'vectors': 1}\n", r"returned the keys \['vectors'\]", ""),
        ("def vectorize(self, **blocks):\n    return {'output_vectors': 'oops'}\n", "must answer a feature set as JSON", ""),
        ("def vectorize(self, **blocks):\n    return {'output_vectors': '{\"a\": 1}'}\n", r"with a list 'features', but answered \['a'\]", ""),
    ],
)  # fmt: skip
def test_failures_of_the_package(tmp_path, raster, methods, message, in_details):
    with pytest.raises(Exception, match=message) as caught:
        run(make_package(tmp_path / "p", methods), raster)
    assert in_details in caught.value.details


def test_swallowed_import_error_is_shown(tmp_path, raster):
    """5.1: functions that catch the import and fail later with another error."""
    methods = """
    def initialize(self, **scalars):
        try:
            import no_such_library
        except ImportError:
            raise Exception("Could not find the required deep learning dependencies")
    """
    with pytest.raises(FunctionError, match="needs the Python library no_such_library"):
        run(make_package(tmp_path / "p", methods), raster)


def test_syntax_error_tells_the_line(tmp_path, raster):
    with pytest.raises(FunctionError, match=r"import of the package failed: .*Function.py.*line 1.*SyntaxError"):
        run(make_package(tmp_path / "p", code="def oops(:\n"), raster)


def test_torch_loads_old_weights_on_the_cpu(tmp_path, raster):
    """5.2: whole pickled objects open, with torch imported wherever the package likes."""
    torch = pytest.importorskip("torch")
    methods = """
    def initialize(self, **scalars):
        import torch
        self.weights = torch.load(os.path.join(os.path.dirname(scalars["model"]), "weights.pt"))
        assert self.weights["plain"].value == 3
    """
    package = make_package(tmp_path / "p", code="class Plain:\n    value = 3\n\n" + source_of(tmp_path) + methods)
    (package / "plain_module.py").write_text("class Plain:\n    value = 3\n")
    import sys

    sys.path.insert(0, str(package))
    try:
        import plain_module

        torch.save({"plain": plain_module.Plain()}, package / "weights.pt")
    finally:
        sys.path.remove(str(package))
    assert run(package, raster).statistics.blocks == 1

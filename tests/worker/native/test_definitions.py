"""Definitions with anything in them: the engine can always tell what they are, and networks refuse what they cannot be."""

from __future__ import annotations

import json

import pytest
import trained
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from deep_learning_packages.worker import native  # noqa: E402
from deep_learning_packages.worker.native import families  # noqa: E402
from deep_learning_packages.worker.native.errors import NativeError  # noqa: E402

junk = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 5000) | st.floats(allow_nan=False, width=32) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["Name", "backbone", "anchors", "scales", "band_min_values"]), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
KEYS = [
    "ImageHeight", "ImageWidth", "ExtractBands", "Classes", "ModelParameters", "NormalizationStats", "Grids", "Zooms", "Ratios", "SSDVersion",
    "resize_to", "DataRange", "BatchSize", "ImageSpaceUsed", "MetaDataMode", "Bands", "tta_scales", "test_time_augmentation", "ModelFile",
    "CropSizeFixed", "SupportsVariableTileSize",
]  # fmt: skip


@given(
    st.dictionaries(
        st.sampled_from([*KEYS, "Framework", "ModelConfiguration", "InferenceFunction", "ModelName", "Preprocessing"]), junk
    ),
    st.booleans(),
)
def test_the_engine_can_tell_of_any(values, brings_child):
    found = families.trained({**trained.definition("RetinaNet"), **values}, brings_child)
    assert found is None or (isinstance(found.obstacle, str) and (found.obstacle or found.family in families.known()))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(trained.PARTICULARS)), st.dictionaries(st.sampled_from(KEYS), junk, min_size=1, max_size=2))
def test_networks_run_or_refuse(tmp_path, family, values):
    """Never with an error of another kind, which would blame the package's code, of which none runs."""
    folder = tmp_path / family
    if not folder.exists():
        trained.package(folder, trained.definition(family), trained.random_state(trained.definition(family)))
    (folder / "Model.emd").write_text(json.dumps({**trained.definition(family), **values}))
    function = native.create(family)
    try:
        function.initialize(model=str(folder / "Model.emd"), device=-1)
        declared = {entry["name"]: str(entry["value"]) for entry in function.getParameterInfo() if entry["value"] is not None}
        configuration = function.getConfiguration(**declared)
    except NativeError:
        return
    assert configuration["tx"] is not None

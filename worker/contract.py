"""The contract's words: entries of getParameterInfo, the answer of getFields, feature sets (CONTRACT 3)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

Parameter = dict[str, Any]
POLYGON = 4
"""As getGeometryType says it."""


def parameter(name: str, data_type: str, value: object, label: str, description: str, domain: Sequence[object] = ()) -> Parameter:
    """One entry of getParameterInfo (CONTRACT 3.2)."""
    entry = {
        "name": name,
        "dataType": data_type,
        "value": value,
        "required": value is None,
        "displayName": label,
        "description": description,
    }
    return {**entry, "domain": tuple(domain)} if domain else entry


def input_parameters(raster: str) -> list[Parameter]:
    """The entries that the host fills: the pixels, the model definition, the device."""
    return [
        parameter(raster, raster, None, "Raster", "Input raster"),
        parameter("model", "string", None, "Model definition", "Path of the .emd"),
        {**parameter("device", "numeric", -1, "Device", "-1 for the CPU, else the number of the GPU"), "value": None},
    ]


def fields(*named: tuple[str, str]) -> str:
    """The answer of getFields: OID, the named fields with their Esri types, and the shape."""
    entries = (("OID", "OID"), *named, ("Shape", "Geometry"))
    return json.dumps({"fields": [{"name": n, "type": f"esriFieldType{t}", "alias": n} for n, t in entries]})


def feature_set(features: Iterable[tuple[Sequence[object], dict[str, Any]]]) -> dict[str, str]:
    """The answer of vectorize for polygons, each as its rings of (x, y) pairs, with its attributes; numbered from 1."""
    written = [
        {"attributes": {"OID": number, **attributes}, "geometry": {"rings": rings}}
        for number, (rings, attributes) in enumerate(features, 1)
    ]
    return {"output_vectors": json.dumps({"geometryType": "esriGeometryPolygon", "features": written})}

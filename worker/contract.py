"""The contract's words: entries of getParameterInfo, the answer of getFields, feature sets (CONTRACT 3)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


class ContractError(Exception):
    """The raster function answered something that the contract does not allow, or cannot answer about some chips."""


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


DETECTED = fields(("Class", "String"), ("Confidence", "Double"))
"""The fields of Esri's detectors."""
CLASSIFIED = fields(("Confidence", "String"), ("Label", "String"))
"""The fields of Esri's classifiers, which answer the confidence as text."""


def blacken(pixels: NDArray[Any], mask: NDArray[Any]) -> NDArray[Any]:
    """Set to 0 what a mask excludes, in place (CONTRACT 3.4)."""
    pixels[mask == 0] = 0
    return pixels


def read_definition(path: str) -> dict[str, Any]:
    """The JSON object of an .emd that the engine has looked at, in the encodings that it takes (CONTRACT 1.3)."""
    with open(path, "rb") as file:
        raw = file.read()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", errors="replace")
    values: dict[str, Any] = json.loads(text)
    return values

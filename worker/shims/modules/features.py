"""Stand-in for the module of Esri's sample functions that holds an empty feature set of polygons."""

_FIELDS = (("FID", "OID"), ("Class", "String"), ("Confidence", "Double"))

features = {
    "displayFieldName": "",
    "fieldAliases": {name: name for name, _ in _FIELDS},
    "geometryType": "esriGeometryPolygon",
    "fields": [{"name": name, "type": f"esriFieldType{kind}", "alias": name} for name, kind in _FIELDS],
    "features": [],
}

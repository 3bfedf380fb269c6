"""Stand-in for the module of Esri's sample functions that holds an empty raster attribute table."""

_FIELDS = (
    ("OID", "OID"),
    ("Value", "Integer"),
    ("Class", "String"),
    ("Red", "Integer"),
    ("Green", "Integer"),
    ("Blue", "Integer"),
)

attribute_table = {
    "displayFieldName": "",
    "fieldAliases": {name: name for name, _ in _FIELDS},
    "fields": [{"name": name, "type": f"esriFieldType{kind}", "alias": name} for name, kind in _FIELDS],
    "features": [],
}

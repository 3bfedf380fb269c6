"""Stand-in for the module of Esri's sample functions that names the fields of a detection."""

fields = {
    "fields": [
        {"name": name, "type": f"esriFieldType{kind}", "alias": name}
        for name, kind in (("OID", "OID"), ("Class", "String"), ("Confidence", "Double"), ("Shape", "Geometry"))
    ]
}

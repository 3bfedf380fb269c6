"""Classify objects inside QGIS: attributes come out as they went in, and new fields beside them."""

from __future__ import annotations

from typing import Any

import pytest
from classifiers import make_classifier
from classify_runs import PACKED, PLACES, classify, labels_in, layer_of, opened, point
from qgis.core import (
    NULL,
    QgsCategorizedSymbolRenderer,
    QgsField,
    QgsProcessingFeedback,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QByteArray, QDate, QDateTime, QTime

pytestmark = pytest.mark.usefixtures("provider")


FIELDS = [
    QgsField("whole", PACKED.Int), QgsField("long", PACKED.LongLong), QgsField("real", PACKED.Double), QgsField("text", PACKED.QString, len=20),
    QgsField("day", PACKED.QDate), QgsField("time", PACKED.QTime), QgsField("moment", PACKED.QDateTime), QgsField("yes", PACKED.Bool),
    QgsField("bytes", PACKED.QByteArray), QgsField("texts", PACKED.QStringList, subType=PACKED.QString),
    QgsField("numbers", PACKED.QVariantList, subType=PACKED.Int), QgsField("object", PACKED.QVariantMap),
]  # fmt: skip
FULL = [
    -7, 2**40, 0.1, "Grüße, 'x' \"y\"\n", QDate(2024, 2, 29), QTime(23, 59, 58), QDateTime(QDate(1969, 7, 20), QTime(20, 17, 40)), True,
    QByteArray(b"\0\1\xff"), ["a", "", "b;c"], [1, -2, 3], {"a": 1, "b": {"c": [True, None, "d"]}},
]  # fmt: skip
PLAIN = ["whole", "long", "real", "text", "day"]


def every_kind(names: list[str] | None = None) -> QgsVectorLayer:
    """Three features: with all values, with none, and with empty ones."""
    fields = [QgsField(field) for field in FIELDS if names is None or field.name() in names]
    for field in fields:
        field.setAlias(f"Alias of {field.name()}")
    kept = [number for number, field in enumerate(FIELDS) if names is None or field.name() in names]
    empty = [0, 0, 0.0, "", *[NULL] * 3, False, QByteArray(b""), [], [], {}]
    rows = [[row[number] for number in kept] for row in (FULL, [NULL] * len(FULL), empty)]
    return layer_of([point(*place) for place in PLACES[:3]], "Point", fields=fields, rows=rows)


def attributes(layer: QgsVectorLayer, names: list[str]) -> list[list[Any]]:
    return [[comparable(feature[name]) for name in names] for feature in layer.getFeatures()]


def comparable(value: Any) -> Any:
    return bytes(value) if isinstance(value, QByteArray) else value


def test_attributes_of_all_types_stay_what_they_are(raster, oracle, labels):
    layer = every_kind()
    found = classify(raster, oracle, layer)
    names = [field.name() for field in FIELDS]
    assert found.fields().names() == [*names, "ClassLabel", "Confidence", "Size"]
    for before in layer.fields():
        after = found.fields().field(before.name())
        assert (after.type(), after.subType(), after.length()) == (before.type(), before.subType(), before.length())
    assert attributes(found, names) == attributes(layer, names)
    nulls = [[feature[name] == NULL for name in names] for feature in found.getFeatures()]
    assert nulls == [[feature[name] == NULL for name in names] for feature in layer.getFeatures()]
    assert labels_in(found) == labels[:3]


@pytest.mark.parametrize("output", ["memory:", "o.gpkg"])
def test_aliases_stay(raster, oracle, tmp_path, output):
    found = classify(raster, oracle, every_kind(PLAIN), OUTPUT=output if output == "memory:" else tmp_path / output)
    aliases = {field.name(): field.alias() for field in found.fields()}
    assert {name: aliases[name] for name in PLAIN} == {name: f"Alias of {name}" for name in PLAIN}


@pytest.mark.parametrize("suffix", ["gpkg", "geojson", "fgb", "shp", "csv"])
def test_attributes_are_written_as_qgis_itself_writes_them(raster, oracle, labels, tmp_path, suffix):
    """The same file as one of QGIS's own algorithms makes, and the label beside."""
    from qgis import processing

    kinds = PLAIN if suffix in ("shp", "csv") else [field.name() for field in FIELDS if field.name() != "object"]
    layer = every_kind(kinds)
    own, ours = str(tmp_path / f"own.{suffix}"), str(tmp_path / f"ours.{suffix}")
    processing.run("native:extractbyexpression", {"INPUT": layer, "EXPRESSION": "true", "OUTPUT": own})
    found, reference = classify(raster, oracle, layer, OUTPUT=ours), opened(own)
    names = reference.fields().names()
    assert found.fields().names()[: len(names)] == names
    assert [field.type() for field in found.fields()][: len(names)] == [field.type() for field in reference.fields()]
    assert attributes(found, names) == attributes(reference, names)
    by_number = {str(feature["whole"]): str(feature["ClassLabel"]) for feature in found.getFeatures()}
    assert by_number == {"-7": labels[0], "" if suffix == "csv" else "NULL": labels[1], "0": labels[2]}


def test_field_names_that_are_taken(raster, tmp_path, labels):
    """The new field gives way, whatever the case of its name, and the user is told."""
    answer = """
    def feature(self, number, chip, mask):
        return {"attributes": {"Label": "x", "Confidence": 0.5, "Size": 9, "size_1": 7}}
    """
    package = make_classifier(tmp_path / "p", answer)
    fields = [
        QgsField("CLASSLABEL", PACKED.QString),
        QgsField("confidence", PACKED.Int),
        QgsField("Confidence_1", PACKED.Int),
        QgsField("SIZE", PACKED.Int),
    ]
    layer = layer_of([point(20, 20)], "Point", fields=fields, rows=[["old", 1, 2, 3]])
    feedback = QgsProcessingFeedback(False)
    for output in ("memory:", tmp_path / "o.gpkg"):
        found = classify(raster, package, layer, feedback=feedback, OUTPUT=output)
        (feature,) = found.getFeatures()
        values = {field.name(): feature[field.name()] for field in found.fields() if field.name() != "fid"}
        assert values == {
            "CLASSLABEL": "old", "confidence": 1, "Confidence_1": 2, "SIZE": 3, "ClassLabel_1": "x", "Confidence_2": 0.5, "Size_1": 9, "size_1_1": 7,
        }  # fmt: skip
    assert "have a field ClassLabel already, so the new one is named ClassLabel_1" in feedback.textLog()
    assert "have a field Confidence already, so the new one is named Confidence_2" in feedback.textLog()


@pytest.mark.parametrize("name", ["what it is", "Confidence", "number", "Size", "ClassLabel", "", " ", 'a"b', "fid", "geom"])
@pytest.mark.parametrize("output", ["memory:", "o.gpkg"])
def test_name_of_the_label_field(raster, oracle, labels, tmp_path, name, output):
    layer = layer_of([point(*place) for place in PLACES], "Point")
    found = classify(raster, oracle, layer, CLASS_LABEL_FIELD=name, OUTPUT=output if output == "memory:" else tmp_path / output)
    names = [each for each in found.fields().names() if each != "fid" or output == "memory:"]
    wanted = {"number": "number_1", "": "ClassLabel", " ": "ClassLabel"}.get(name, name)
    field = names[1]
    assert field.startswith(wanted)
    assert field == wanted or name in ("fid", "geom")
    assert labels_in(found, field) == labels
    assert [feature["number"] for feature in found.getFeatures()] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("kind", "values"),
    [(PACKED.Int, [30, 10, 20, 40]), (PACKED.Int, [1, 1, 2, 2]), (PACKED.Int, [5, NULL, NULL, 7]), (PACKED.QString, ["d", "c", "b", "a"]), (PACKED.Double, [1.5, 1.25, 3.0, 2.0])],
)  # fmt: skip
def test_field_fid_of_features_that_come_from_elsewhere(raster, oracle, labels, tmp_path, kind, values):
    """A GeoPackage takes a field of that name for its own ids, which occur once and are whole; nothing may be lost."""
    layer = layer_of([point(*place) for place in PLACES], "Point", fields=[QgsField("fid", kind), QgsField("number", PACKED.Int)],
                     rows=[[value, number] for number, value in enumerate(values)])  # fmt: skip
    for output in ("memory:", tmp_path / "o.shp", tmp_path / "o.gpkg"):
        found = classify(raster, oracle, layer, OUTPUT=output)
        rows = {feature["number"]: feature for feature in found.getFeatures()}
        assert [
            rows[number][next(name for name in found.fields().names() if name.startswith("ClassLa"))] for number in range(4)
        ] == labels
        if output != tmp_path / "o.gpkg":
            assert [feature["fid"] for feature in found.getFeatures()] == values
            assert list(rows) == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["geom", "geometry", "GEOM", "ogc_fid", "rowid", "select", "x" * 200, "Ä b'c\"d"])
def test_field_names_that_formats_use_themselves(raster, oracle, labels, tmp_path, name):
    layer = layer_of(
        [point(*place) for place in PLACES], "Point", fields=[QgsField(name, PACKED.QString)], rows=[[f"v{n}"] for n in range(4)]
    )
    found = classify(raster, oracle, layer, OUTPUT=tmp_path / "o.gpkg")
    assert labels_in(found) == labels
    field = next(each for each in found.fields().names() if each not in ("fid", "ClassLabel", "Confidence", "Size"))
    assert [feature[field] for feature in found.getFeatures()] == ["v0", "v1", "v2", "v3"]


@pytest.mark.parametrize(
    "attributes",
    [{"": 1, " ": 2}, {"geom": "a", "fid ": 1}, {"a" * 500: 1}, {"Label": "\ud800", "Odd\ud800": "\udfff"}, {"Label": "a\0b", "x\0y": 1}, {"Label": "x" * 100_000}],
    ids=["without names", "geometry's", "long", "half a character", "zeros", "long text"],
)  # fmt: skip
def test_attributes_of_a_strange_function_do_not_cost_the_result(raster, tmp_path, attributes):
    answer = f"def feature(self, number, chip, mask):\n    return {{'attributes': {{'Label': 'x', **{attributes!r}}}}}\n"
    package = make_classifier(tmp_path / "p", answer)
    for output in ("memory:", tmp_path / "o.gpkg"):
        assert classify(raster, package, layer_of([point(20, 20)], "Point"), OUTPUT=output).featureCount() == 1


def test_labels_of_several_classes_stay_text(raster, tmp_path):
    answer = "def feature(self, number, chip, mask):\n    return {'attributes': {'Label': 'Tree;House', 'Confidence': '0.9;0.4' if number == 1 else '0.75'}}\n"
    package = make_classifier(tmp_path / "p", answer)
    found = classify(raster, package, layer_of([point(20, 20), point(30, 20)], "Point"), OUTPUT=tmp_path / "o.gpkg")
    assert found.fields().field("Confidence").type() == PACKED.QString
    assert [(feature["ClassLabel"], feature["Confidence"]) for feature in found.getFeatures()] == [
        ("Tree;House", "0.9;0.4"),
        ("Tree;House", "0.75"),
    ]


def test_style_shows_the_labels(raster, tmp_path):
    """Colours are those of the definition, also where the field has a name of its own."""
    definition = {
        "Classes": [{"Value": 1, "Name": "Tree", "Color": [1, 2, 3]}, {"Value": 2, "Name": "House", "Color": [4, 5, 6]}]
    }
    answer = "def feature(self, number, chip, mask):\n    return {'attributes': {'Classvalue': number, 'Confidence': 0.5}}\n"
    package = make_classifier(tmp_path / "p", answer, definition)
    layer = layer_of(
        [point(20, 20), point(30, 20), point(-9, 9)],
        "Point",
        fields=[QgsField("Class", PACKED.QString)],
        rows=[["a"], ["b"], ["c"]],
    )
    output = tmp_path / "o.gpkg"
    found = classify(raster, package, layer, CLASS_LABEL_FIELD="What", OUTPUT=output)
    assert labels_in(found, "What") == ["Tree", "House", None]
    assert isinstance(found.renderer(), QgsCategorizedSymbolRenderer)
    assert found.renderer().classAttribute() == "What"
    colors = {category.label(): category.symbol().color().name() for category in found.renderer().categories()}
    assert (colors["Tree"], colors["House"]) == ("#010203", "#040506")

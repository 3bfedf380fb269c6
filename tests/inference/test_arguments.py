"""Model arguments: the texts that users and ArcGIS write, and the text that functions are handed."""

from __future__ import annotations

import json

import pytest
from deep_learning_packages.inference.arguments import declared_arguments, parse_values, scalars
from deep_learning_packages.inference.errors import ArgumentValueError
from hypothesis import given
from hypothesis import strategies as st

DECLARED = declared_arguments(
    [
        {"name": "raster", "dataType": "raster"},
        {"name": "model", "dataType": "string"},
        {"name": "device", "dataType": "numeric"},
        {"name": "padding", "dataType": "numeric", "value": 56.0},
        {"name": "threshold", "dataType": "GPDouble", "value": 0.5, "domain": [0.0, 1.0]},
        {"name": "batch_size", "dataType": "GPLong", "value": 4},
        {"name": "flip", "dataType": "string", "value": "False", "domain": ["True", "False"]},
        {"name": "policy", "dataType": "GPStringKeyword", "value": "mean", "domain": ["mean", "max"]},
        {"name": "prompt", "dataType": "string", "value": None},
    ]
)


@pytest.mark.parametrize(
    ("given_value", "expected"),
    [
        ("score_threshold 0.6;padding 0", {"score_threshold": "0.6", "padding": "0"}),
        ("  padding 56 ;; batch_size:16; flip=true;", {"padding": "56", "batch_size": "16", "flip": "true"}),
        ("text_prompt 'car, building; road';padding 64", {"text_prompt": "car, building; road", "padding": "64"}),
        ('text_prompt "it\'s";padding 1', {"text_prompt": "it's", "padding": "1"}),
        ("prompt two words", {"prompt": "two words"}),
        ('{"padding": 56.0, "flip": true, "threshold": 0.25, "prompt": "a;b"}',
         {"padding": "56", "flip": "True", "threshold": "0.25", "prompt": "a;b"}),
        ({"padding": 3, "prompt": None}, {"padding": "3"}),
        (None, {}),
        ("", {}),
    ],
)  # fmt: skip
def test_what_users_write(given_value, expected):
    assert parse_values(given_value) == expected


@pytest.mark.parametrize("text", ["padding", "{oops", "{'a': 1}"])
def test_what_cannot_be_read(text):
    with pytest.raises(ArgumentValueError, match=r"padding|JSON"):
        parse_values(text)


def test_defaults_are_handed_over_as_text():
    values, unknown = scalars(DECLARED, {})
    assert values == {"padding": "56", "threshold": "0.5", "batch_size": "4", "flip": "False", "policy": "mean"}
    assert unknown == []


def test_values_are_normalised_and_unknown_ones_kept():
    given_values = {"THRESHOLD": "0,25", "flip": "1", "policy": "MAX", "prompt": " a b ", "other": "x", "batch_size": "16.0"}
    values, unknown = scalars(DECLARED, given_values)
    assert values == {
        "padding": "56", "threshold": "0.25", "batch_size": "16", "flip": "True", "policy": "max", "prompt": " a b ", "other": "x",
    }  # fmt: skip
    assert unknown == ["other"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("padding", "wide", "padding must be a number, but 'wide'"),
        ("padding", "nan", "padding must be a number"),
        ("batch_size", "2.5", "batch_size must be a whole number, but '2.5'"),
        ("threshold", "1.5", "threshold must be a number from 0.0 to 1.0, but '1.5'"),
        ("flip", "maybe", "flip must be True or False, but 'maybe'"),
        ("policy", "median", "policy must be one of mean, max, but 'median'"),
    ],
)
def test_wrong_values(name, value, message):
    with pytest.raises(ArgumentValueError, match=message):
        scalars(DECLARED, {name: value})


def test_required_argument_without_value():
    declared = declared_arguments([{"name": "key", "dataType": "string", "required": True}])
    with pytest.raises(ArgumentValueError, match="needs a value for key"):
        scalars(declared, {})


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), st.text(st.characters(blacklist_characters="'\"\r\n"))))
def test_quoted_text_and_json_survive(values):
    text = ";".join(f"{name} '{value}'" for name, value in values.items())
    assert parse_values(text) == values
    assert parse_values(json.dumps(values)) == values

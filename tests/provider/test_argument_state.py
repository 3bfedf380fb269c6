"""Values of arguments on their way: widget, stored JSON, argument string, worker. Properties, with hypothesis."""

from __future__ import annotations

import json
import math

import pytest
from deep_learning_packages.inference.arguments import ModelArgument, parse_values, scalars
from deep_learning_packages.inference.errors import ArgumentValueError
from deep_learning_packages.inference.interpreter import find_interpreter
from deep_learning_packages.inference.package import open_package
from deep_learning_packages.inference.raster_function import Hosting, RasterFunction
from deep_learning_packages.inference.sandbox import find_sandbox
from deep_learning_packages.inference.slots import Slots
from deep_learning_packages.provider.arguments.state import ArgumentState
from engine_runs import Recorder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packages import make_package

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,12}", fullmatch=True).filter(
    lambda name: name.lower() not in ("raster", "rasters", "model", "device")
)
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
NUMBERS = st.floats(-1e9, 1e9, allow_nan=False).map(lambda number: 0.0 if number == 0 else number)
MANY = settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    report_multiple_bugs=False,
)


def as_text(number: float) -> str:
    return str(int(number)) if float(number).is_integer() else repr(number)


@st.composite
def arguments(draw):
    """An argument of any kind and a value that it allows, as the editors give it."""
    name, kind = draw(NAMES), draw(st.sampled_from(["number", "integer", "boolean", "text", "choice"]))
    if kind == "choice":
        choices = tuple(draw(st.lists(TEXTS.map(str.strip).filter(bool), min_size=1, max_size=4, unique_by=str.lower)))
        default, value = draw(st.sampled_from(choices)), draw(st.sampled_from(choices))
        return ModelArgument(name, "text", default, False, name, "", choices), value
    values = {
        "number": NUMBERS.map(as_text), "integer": st.integers(-(10**6), 10**6).map(str),
        "boolean": st.sampled_from(["True", "False"]), "text": TEXTS,
    }[kind]  # fmt: skip
    default = draw(st.none() | values) if kind in ("number", "text") else draw(values)
    return ModelArgument(name, kind, default, False, name, ""), draw(values)


def models(smallest=0):
    return st.lists(arguments(), min_size=smallest, max_size=6, unique_by=lambda pair: pair[0].name.lower())


def filled(pairs):
    """A state with these arguments and values, as typed."""
    state = ArgumentState()
    state.declare(argument for argument, _ in pairs)
    for argument, value in pairs:
        state.set(argument.name, value)
    return state


def expected(pairs):
    """What the worker must get: the value, but an empty text where there is no default means that nothing is set."""
    return {argument.name: value for argument, value in pairs if not (value == "" and argument.default is None)}


@MANY
@given(models())
def test_widget_to_json_to_worker(pairs):
    """Typed, stored as JSON, parsed again, handed over: the same text; and another widget shows the same."""
    state = filled(pairs)
    stored = state.value()
    json.loads(stored or "{}")
    values, unknown = scalars([argument for argument, _ in pairs], parse_values(stored))
    assert unknown == []
    assert values == {**{a.name: a.default for a, _ in pairs if a.default is not None}, **expected(pairs)}
    other = ArgumentState()
    other.load(stored)
    other.declare(argument for argument, _ in pairs)
    assert [other.text(argument) for argument, _ in pairs] == [value for _, value in pairs]
    assert other.value() == stored


@MANY
@given(models())
def test_only_what_differs_is_stored(pairs):
    state = filled(pairs)
    for argument, _ in pairs:
        state.set(argument.name, argument.default or "")
    assert state.value() == ""
    assert not any(state.is_changed(argument) for argument, _ in pairs)


@MANY
@given(models())
def test_argument_string(pairs):
    """ArcGIS's notation, with quotes around what needs them; a text with both kinds of quotes cannot be written in it."""
    pairs = [(a, v) for a, v in pairs if v and v == v.strip() and not ("'" in v and '"' in v) and "'" not in v and '"' not in v]
    text = ";".join(f"{argument.name} '{value}'" for argument, value in pairs)
    state = ArgumentState()
    state.declare(argument for argument, _ in pairs)
    state.load(text)
    assert [state.text(argument) for argument, _ in pairs] == [value for _, value in pairs]
    assert parse_values(state.value()).keys() <= {argument.name for argument, _ in pairs}


@MANY
@given(models(1), models(1))
def test_switching_models(first, second):
    """Values stay where the next model has the argument, wait where it has not, and are back with the first model."""
    state = filled(first)
    before = state.value()
    state.declare(argument for argument, _ in second)
    names = {argument.name for argument, _ in second}
    assert set(state.given) <= names
    assert state.undeclared == {}
    state.declare(argument for argument, _ in first)
    assert state.value() == before


@MANY
@given(st.dictionaries(NAMES, TEXTS, max_size=4))
def test_values_for_names_that_no_model_declares(values):
    """They came with the project: they are kept and handed over."""
    state = ArgumentState()
    state.load(json.dumps(values))
    assert parse_values(state.value()) == values
    state.declare([])
    assert state.undeclared == values
    assert parse_values(state.value()) == values


def test_wrong_values_are_kept_and_told():
    state = ArgumentState()
    state.load("threshold high;tile 2.5")
    arguments = [
        ModelArgument("threshold", "number", "0.5", False, "Threshold", "", (), 0.0, 1.0),
        ModelArgument("tile", "integer", "256", False, "Tile", ""),
    ]
    state.declare(arguments)
    assert "must be a number" in state.problem(arguments[0])
    assert "must be a whole number" in state.problem(arguments[1])
    assert json.loads(state.value()) == {"threshold": "high", "tile": "2.5"}


THRESHOLD = ModelArgument("threshold", "number", "0.5", False, "Threshold", "", (), 0.0, 1.0)
TILE = ModelArgument("tile", "integer", "256", False, "Tile", "")


def test_values_of_a_model_do_not_reach_the_next_by_way_of_none():
    """The first model is left for a moment without any, as while a path is typed."""
    state = ArgumentState()
    state.declare([THRESHOLD, TILE])
    state.set("tile", "64")
    state.set("threshold", "0.7")
    state.forget()
    state.declare([THRESHOLD])
    assert json.loads(state.value()) == {"threshold": 0.7}
    state.forget()
    state.declare([THRESHOLD, TILE])
    assert json.loads(state.value()) == {"threshold": 0.7, "tile": 64}


def test_a_value_that_cannot_be_read_is_kept_until_something_is_changed():
    state = ArgumentState()
    with pytest.raises(ArgumentValueError):
        state.load('{"threshold": ')
    state.declare([THRESHOLD])
    assert state.value() == '{"threshold": '
    state.set("threshold", "0.6")
    assert json.loads(state.value()) == {"threshold": 0.6}


ECHO = """
def getParameterInfo(self):
    kinds = {"number": "GPDouble", "whole": "GPLong", "flag": "boolean", "text": "string"}
    defaults = {"number": 0.5, "whole": 4, "flag": "False", "text": ""}
    return [{"name": "raster", "dataType": "raster"}, *({"name": n, "dataType": k, "value": defaults[n]} for n, k in kinds.items())]

def getConfiguration(self, **scalars):
    self.got = {name: value for name, value in scalars.items() if name not in ("model", "device")}
    return {"tx": 32, "ty": 32}

def getFields(self):
    return {"fields": [{"name": json.dumps(self.got), "type": "esriFieldTypeString"}]}
"""


@pytest.fixture(scope="module")
def echo(tmp_path_factory):
    """A real worker with a function that tells what it was handed."""
    package = open_package(make_package(tmp_path_factory.mktemp("echo") / "p", ECHO))
    slots = Slots()
    function = RasterFunction(package, Hosting(find_interpreter(), find_sandbox(), "CPU"), slots, Recorder())
    declared = function.open({})
    yield declared, lambda values: json.loads(function.configure(values).fields[0].name)
    function.kill()
    slots.close()


@pytest.fixture(autouse=True)
def no_leftovers():
    """The worker of this module outlives its tests; the module's end kills it."""


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], report_multiple_bugs=False
)
@given(number=NUMBERS, whole=st.integers(-(10**6), 10**6), flag=st.booleans(), text=TEXTS)
def test_from_the_widget_into_a_real_worker(echo, number, whole, flag, text):
    declared, received = echo
    state = ArgumentState()
    state.declare(declared)
    typed = {"number": as_text(number), "whole": str(whole), "flag": str(flag), "text": text}
    for name, value in typed.items():
        state.set(name, value)
    got = received(scalars(declared, parse_values(state.value()))[0])
    assert got == typed
    assert all(isinstance(value, str) for value in got.values())
    assert math.isclose(float(got["number"]), number, rel_tol=1e-15, abs_tol=1e-300)

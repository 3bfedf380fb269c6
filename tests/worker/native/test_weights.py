"""Files with weights: both layouts, what several GPUs leave, and whatever is no weights: refused, and nothing runs."""

from __future__ import annotations

import io
import os
import pickle
import random
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import trained

torch = pytest.importorskip("torch")

from deep_learning_packages.worker import native  # noqa: E402
from deep_learning_packages.worker.native import weights  # noqa: E402
from deep_learning_packages.worker.native.errors import NativeError  # noqa: E402

VALUES = trained.definition("SingleShotDetector")


@pytest.fixture(scope="module")
def state():
    return trained.random_state(VALUES)


def loaded(folder, content):
    """The function over a file with this content."""
    path = folder / "p"
    trained.package(path, VALUES, content)
    made = native.create("SingleShotDetector")
    made.initialize(model=str(path / "Model.emd"), device=-1)
    return made


def test_both_layouts(tmp_path, state):
    """A bare state dict, and fastai's with an optimizer that has stepped."""
    layer = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    plain = loaded(tmp_path, OrderedDict(state)).network.network.state_dict()
    both = loaded(tmp_path, {"model": OrderedDict(state), "opt": optimizer.state_dict()}).network.network.state_dict()
    assert all(torch.equal(plain[name], state[name]) and torch.equal(both[name], state[name]) for name in state)


@pytest.mark.skipif(weights._version() < weights.STANDS_IN, reason="this torch lets nothing stand for numpy's numbers")
def test_numbers_of_an_optimizer(tmp_path, state):
    """fastai 1 leaves numbers of numpy in it, as its learning rates come of a cosine."""
    numbers = [np.float64(1e-3), np.float32(2), np.int64(7), np.bool_(True)]
    opt = {"state": {0: {"step": np.int64(3)}}, "param_groups": [{"lr": number} for number in numbers]}
    found = loaded(tmp_path, {"model": OrderedDict(state), "opt": opt}).network.network.state_dict()
    assert all(torch.equal(found[name], state[name]) for name in state)


@pytest.mark.parametrize("content", [np.zeros(3), np.array([Ellipsis], object), np.dtype("f8")])
def test_what_numpy_writes_is_no_weight(tmp_path, state, content):
    """Arrays and types would be made by numpy's own code."""
    for number, whole in enumerate(({**state, "more": content}, content)):
        torch.save(whole, tmp_path / f"{number}.pth")
        with pytest.raises(NativeError, match="cannot be read as plain tensors|no state dict"):
            weights.read_weights(str(tmp_path / f"{number}.pth"))


def test_messages_tell_what_was_wrong(tmp_path):
    """And nothing of torch's advice to open the file nevertheless."""
    torch.save({"model": pickle.PickleBuffer}, tmp_path / "m.pth")
    with pytest.raises(NativeError, match="UnpicklingError: Unsupported .*PickleBuffer") as caught:
        weights.read_weights(str(tmp_path / "m.pth"))
    assert "can still be loaded" not in str(caught.value)
    assert str(caught.value).isprintable()


def test_prefix_of_several_gpus(tmp_path, state):
    found = loaded(tmp_path, {f"module.{name}": tensor for name, tensor in state.items()}).network.network.state_dict()
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_files_of_older_torch(tmp_path, state):
    """Before version 1.6 a file was no zip, but pickles one after another."""
    folder = trained.package(tmp_path / "p", VALUES, {})
    torch.save(OrderedDict(state), folder / "m.pth", _use_new_zipfile_serialization=False)
    made = native.create("SingleShotDetector")
    made.initialize(model=str(folder / "Model.emd"), device=-1)
    assert torch.equal(made.network.network.state_dict()["0.0.weight"], state["0.0.weight"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_weights_of_another_precision(tmp_path, state, dtype):
    found = loaded(tmp_path, {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in state.items()})
    assert {tensor.dtype for tensor in found.network.parameters()} == {torch.float32}


class Executes:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("place", ["alone", "beside", "inside", "older"])
def test_pickles_that_would_execute(tmp_path, state, place, protocol):
    """Refused and not run, wherever in the file the program lies."""
    mark = tmp_path / "ran"
    folder = trained.package(tmp_path / "p", VALUES, {})
    evil = Executes(str(mark))
    if place == "alone":
        (folder / "m.pth").write_bytes(pickle.dumps(evil, protocol))
    elif place == "older":
        torch.save({"model": evil}, folder / "m.pth", pickle_protocol=max(protocol, 2), _use_new_zipfile_serialization=False)
    else:
        content = {**state, "more": evil} if place == "inside" else {"model": OrderedDict(state), "opt": evil}
        torch.save(content, folder / "m.pth", pickle_protocol=max(protocol, 2))
    with pytest.raises(NativeError, match="cannot be read as plain tensors.*could run code, so it is not opened"):
        weights.read_weights(str(folder / "m.pth"))
    assert not mark.exists()


@pytest.mark.parametrize(
    "content",
    [
        {}, [], 3, "text", None, {"model": {}}, {"a": 1}, {"model": {"a": [1, 2]}}, {1: torch.ones(2)}, {"a": torch.ones(2, dtype=torch.complex64)},
        {"a": torch.eye(3).to_sparse()}, {"model": None},
    ],
)  # fmt: skip
def test_what_is_no_state_dict(tmp_path, content):
    torch.save(content, tmp_path / "m.pth")
    with pytest.raises(NativeError, match="no state dict"):
        weights.read_weights(str(tmp_path / "m.pth"))


def test_damaged_files(tmp_path, state):
    """Cut off, with bytes turned, empty, of nonsense: one kind of error, or weights that fit in shape and name."""
    folder = trained.package(tmp_path / "p", VALUES, {})
    small = {name: tensor for name, tensor in state.items() if tensor.numel() < 20_000}
    buffer = io.BytesIO()
    torch.save(small, buffer)
    content, dice = buffer.getvalue(), random.Random(5)
    cases = [content[: dice.randrange(len(content))] for _ in range(30)]
    for _ in range(60):
        turned = bytearray(content)
        for _ in range(dice.randrange(1, 20)):
            turned[dice.randrange(len(turned))] = dice.randrange(256)
        cases.append(bytes(turned))
    cases += [b"", b"PK\x03\x04", os.urandom(5000), b"\x80\x02}q\x00.", zipped({"archive/data.pkl": b"\x80\x02N."})]
    for case in cases:
        (folder / "m.pth").write_bytes(case)
        try:
            found = weights.read_weights(str(folder / "m.pth"))
        except NativeError:
            continue
        assert all(isinstance(tensor, torch.Tensor) for tensor in found.values())


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_holes_of_older_torch(tmp_path, state, monkeypatch):
    """With nothing else in the way, a torch with known holes in its reader reads nothing."""
    folder = trained.package(tmp_path / "p", VALUES, state)
    monkeypatch.setattr(weights, "SAFE_TORCH", (99, 0))
    with pytest.raises(NativeError, match=r"has known holes.*Update torch to 99\.0.*use a sandbox, or trust the package"):
        weights.read_weights(str(folder / "m.pth"), is_contained=False)
    assert set(weights.read_weights(str(folder / "m.pth"), is_contained=True)) == set(state)


def test_tensors_that_claim_to_be_huge(tmp_path):
    """A few bytes that stretch to terabytes cost nothing before they are refused."""
    torch.save({"a": torch.zeros(1).expand(1 << 40)}, tmp_path / "m.pth")
    with pytest.raises(NativeError, match="more than any network"):
        weights.read_weights(str(tmp_path / "m.pth"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("1.oconvs.0.oconv1.bias"), r"1 missing: 1\.oconvs\.0\.oconv1\.bias"),
        (lambda state: state.update(more=torch.ones(1)), "1 not part of it: more"),
        (lambda state: state.update({"0.0.weight": torch.ones(64, 4, 7, 7)}), r"of another shape: 0\.0\.weight 64x4x7x7 instead of 64x3x7x7"),
        (lambda state: state.clear() or state.update(a=torch.ones(1)), r"missing: 1\.sconvs\.0\.conv\.weight"),
    ],
)  # fmt: skip
def test_weights_of_another_network(tmp_path, state, change, message):
    changed = dict(state)
    change(changed)
    with pytest.raises(NativeError, match=message) as caught:
        loaded(tmp_path, changed)
    assert "ARCGIS_TRAINED=PACKAGE" in str(caught.value)


def test_counters_may_be_missing(tmp_path, state):
    kept = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    assert len(kept) < len(state)
    loaded(tmp_path, kept)

"""Feeds everything that reads a stranger's bytes with bytes that a fuzzer makes up: nothing but our own errors may come out.

python tests/fuzzing.py                      one million executions of each target, as `make fuzz` does
python tests/fuzzing.py archive 20000        so many executions of one of them

Atheris (libFuzzer) watches which branches an input takes and varies those that took new ones. An input that breaks a target
is written to build/fuzz; it then becomes a test.
"""

from __future__ import annotations

import io
import json
import mmap
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "build" / "plugins")]

with atheris.instrument_imports(include=["deep_learning_packages"]):
    from deep_learning_packages.inference import inspection, package
    from deep_learning_packages.inference.archive_readers import SEVEN_ZIP_MAGIC
    from deep_learning_packages.inference.arguments import declared_arguments, parse_values, scalars
    from deep_learning_packages.inference.blocks import Block
    from deep_learning_packages.inference.classes import declared_classes
    from deep_learning_packages.inference.classification.label_tally import calls_of
    from deep_learning_packages.inference.classification.labels import LabelDecoder, from_text, to_text
    from deep_learning_packages.inference.configuration import Configuration
    from deep_learning_packages.inference.detections import in_grid
    from deep_learning_packages.inference.errors import InferenceError
    from deep_learning_packages.inference.featureset import FeatureSetDecoder
    from deep_learning_packages.inference.fields import Field, declared_fields
    from deep_learning_packages.inference.grid import Window
    from deep_learning_packages.inference.journal import Journal
    from deep_learning_packages.inference.worker import Worker
    from deep_learning_packages.inference.worker_errors import understood
    from deep_learning_packages.worker.host import FunctionHost
    from deep_learning_packages.worker.protocol import ProtocolError, parse, receive, send

from packages import DEFINITION, make_package, zip_package  # noqa: E402

EXECUTIONS = 1_000_000
ROOM = Path(tempfile.mkdtemp(prefix="dlpk-fuzz-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
os.environ["DLPK_CACHE"] = str(ROOM / "cache")


def archive(data: bytes) -> None:
    """A file that claims to be a package: found, checked, unpacked, read."""
    if data.startswith(SEVEN_ZIP_MAGIC):
        return  # another program's work, and it has a process of its own for each look
    path = ROOM / "package.dlpk"
    path.write_bytes(data)
    try:
        package.open_package(path)
    finally:
        if (ROOM / "cache").exists():
            shutil.rmtree(ROOM / "cache")


def definition(data: bytes) -> None:
    """A model definition, and all that is told of it."""
    folder = ROOM / "definition"
    if not folder.exists():
        make_package(folder)
    path = folder / "Package.emd"
    path.write_bytes(data)
    opened = package._package(folder, "0" * 64, folder, path)
    found = inspection.Inspection(opened, None, ())
    json.dumps(found.as_results())
    found.sections()


def arguments(data: bytes) -> None:
    """What a user or a model wrote as arguments, against arguments that a function declares."""
    text, _, declared = data.decode(errors="surrogateescape").partition("\x00")
    with understood():
        known = declared_arguments(parse(declared or "[]"))
    scalars(known, parse_values(text))


_decoders = {kind: FeatureSetDecoder(kind, {}) for kind in (1, 2, 3, 4)}
_journals: list[Journal] = []


def features(data: bytes) -> None:
    """What a function answered about a block, all the way into the journal and back."""
    if not _journals:
        _journals.append(Journal("f" * 64))
    decoder = _decoders[1 + data[0] % 4 if data else 4]
    decoder.learned.clear()
    detections = in_grid(decoder.decode(data[1:]), Window(0, 0, 8, 8))
    list(detections.rows())
    if len(detections):
        (journal,) = _journals
        journal.add(Block(Window(0, 0, 8, 8), 0), detections, "")
        assert sum(len(block) for _, block in journal.blocks()) == len(detections)
        journal._write([("DELETE FROM blocks", ())])


def labels(data: bytes) -> None:
    """What a function answered about chips, and what its worker says about these answers."""
    told, _, payload = data.partition(b"\0")
    calls = calls_of(parse(told) if told.startswith(b"{") else {}, 2, len(payload))
    decoder, start = LabelDecoder({"size": Field("Size", "integer", "Size")}, declared_classes(CLASSES)), 0
    for call in calls:
        for answer in decoder.decode(payload[start : start + call.size], call.chips, 2):
            assert from_text(to_text(answer))[:2] == answer[:2]
        start += call.size
    assert all(field.name for field in decoder.extra_fields.values())


def answers(data: bytes) -> None:
    """The host's side of the pipe: frames, errors, and what a function tells of itself."""
    stream = io.BytesIO(data)
    while (received := receive(stream)) is not None:
        message = received[0]
        _worker.raise_error(message)
        with understood():
            declared_arguments(message["parameters"])
            declared_fields(message["fields"])
            Configuration.from_answer(message["configuration"], {}, {})


def requests(data: bytes) -> None:
    """The worker's side of the pipe: frames, and blocks that they ask for."""
    stream, host = io.BytesIO(data), FunctionHost()
    host._memory, host._slot_bytes = mmap.mmap(-1, 1 << 16), 1 << 12
    while (received := receive(stream)) is not None:
        if received[0].get("command") == "vectorize":
            host.prepare(received[0])


class _Contained:
    program, has_network = "bwrap", False


class _Worker:
    """As much of a worker as its errors need; no process is started."""

    raise_error = Worker.raise_error
    sandbox = _Contained()

    class interpreter:
        path = "python"


_worker = _Worker()


def _frame(*messages: dict[str, object]) -> bytes:
    stream = io.BytesIO()
    for message in messages:
        send(stream, message, b"payload")
    return stream.getvalue()


def _archive_seeds() -> list[bytes]:
    folder = make_package(ROOM / "seed")
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w") as zipped:
        zipped.writestr("P.emd", json.dumps(DEFINITION))
        zipped.writestr("Function.py", "import numpy")
    return [zip_package(folder, ROOM / "seed.dlpk").read_bytes(), stored.getvalue()]


ERROR = {
    "step": "vectorize()",
    "native": "RetinaNet",
    "message": "m",
    "traceback": "t",
    "missing": "torch",
    "out_of_memory": True,
    "network": True,
}
FEATURE = {
    "attributes": {"Class": "a", "Confidence": "0,5;0.7"},
    "geometry": {"rings": [[[1, 1], [5, 1], [5, 5]], [[2, 2], [3, 2], [3, 3]]]},
}
PARAMETERS = [
    {"name": "threshold", "dataType": "numeric", "value": 0.5, "required": True, "domain": [0, 1]},
    {"name": "raster", "dataType": "raster"},
]
CLASSES = {
    "Classes": [{"Value": 1, "Name": "a", "Color": [1, 2, 3]}],
    "ImageHeight": 256,
    "ExtractBands": [0, 1, 2],
    "ModelFile": "x.pth",
}
TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]] = {
    "archive": (archive, _archive_seeds),
    "definition": (definition, lambda: [json.dumps({**DEFINITION, **CLASSES}).encode(), b"\xef\xbb\xbf{}", b'{"a": 1, "a": [2]}']),
    "arguments": (arguments, lambda: [b"threshold 0.5;padding 64\x00" + json.dumps(PARAMETERS).encode(), b'{"threshold": 0.5}\x00[]', b"a:'b;c';d=e"]),
    "features": (features, lambda: [b"\x03" + json.dumps({"features": [FEATURE]}).encode(), b'\0{"features": [{"geometry": {"x": 1, "y": 2}}]}',
                                    b'\x02{"features": [{"geometry": {"paths": [[[1,2],[3,4]]]}}]}', b'\x01{"features": [{"geometry": {"points": [[1,2]]}}]}']),
    "labels": (labels, lambda: [b'{"answers": [[1, 60, ""]]}\0{"features": [{"attributes": {"Label": "a", "Confidence": "0,5;1"}}]}',
                                b'{"answers": [[1, 0, "x"], [1, 17, ""]]}\0{"features": [1]}']),
    "answers": (answers, lambda: [_frame({"error": ERROR}), _frame({"parameters": PARAMETERS, "fields": [{"name": "a", "type": "esriFieldTypeDouble"}],
                                                                  "configuration": {"tx": 8, "ty": 8, "padding": 1, "extractBands": [0, "NIR"], "dataRange": [0, 1]}})]),
    "requests": (requests, lambda: [_frame({"command": "vectorize", "slot": 1, "runs": [{"offset": 0, "step": 64, "count": 2, "shape": [1, 4, 4], "dtype": "uint16", "mask_bands": 1}]}, {"command": "open"})]),
}  # fmt: skip


def fuzz(name: str, executions: int) -> None:
    """Run one target in this process; ends the process."""
    target, seeds = TARGETS[name]
    corpus = ROOM / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(seeds()):
        (corpus / str(number)).write_bytes(seed)

    def run(data: bytes) -> None:
        try:
            target(data)
        except (InferenceError, ProtocolError):
            pass

    crashes = ROOT / "build" / "fuzz"
    crashes.mkdir(parents=True, exist_ok=True)
    options = [
        f"-artifact_prefix={crashes}/{name}-",
        f"-runs={executions}",
        "-max_len=4096",
        "-timeout=30",
        "-rss_limit_mb=4096",
        "-print_final_stats=1",
        "-verbosity=0",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], run)
    atheris.Fuzz()


def fuzz_all(executions: int) -> int:
    """Run every target in a process of its own; the number of those that broke."""

    def run(name: str) -> int:
        done = subprocess.run([sys.executable, __file__, name, str(executions)], capture_output=True, text=True, check=False)
        stats = [line for line in done.stderr.splitlines() if "number_of_executed_units" in line or "average_exec" in line]
        found = "nothing found" if done.returncode == 0 else f"BROKEN\n{done.stderr[-4000:]}"
        print(f"{name}: {'; '.join(line.split('::')[-1] for line in stats)}: {found}", flush=True)
        return done.returncode

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return sum(status != 0 for status in pool.map(run, TARGETS))


if __name__ == "__main__":
    try:
        if len(sys.argv) > 1:
            fuzz(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else EXECUTIONS)
        else:
            sys.exit(fuzz_all(EXECUTIONS))
    finally:
        shutil.rmtree(ROOM, ignore_errors=True)

"""Build a sample package, resources/sample/NAME.dlpk, from its source in the folder NAME and the trained weights.

    python tools/build_sample_package.py NAME WEIGHTS.pt [OUTPUT.dlpk]

NAME is tree_crowns, urban_trees or tree_check. The same input gives the same bytes: times and the order of members
are fixed.
"""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path

SAMPLE = Path(__file__).resolve().parent.parent / "resources" / "sample"
NAMES = sorted(path.name for path in SAMPLE.iterdir() if path.is_dir())
EPOCH = (2026, 1, 1, 0, 0, 0)


def build(name: str, weights: Path, output: Path) -> None:
    """Zip the source of a sample with its weights, which are named NAME.pt inside."""
    members = {path.name: path for path in (SAMPLE / name).iterdir() if path.is_file()} | {f"{name}.pt": weights}
    with zipfile.ZipFile(output, "w") as package:
        for member in sorted(members):
            entry = zipfile.ZipInfo(member, EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            package.writestr(entry, members[member].read_bytes())


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("weights", type=Path)
    parser.add_argument("output", type=Path, nargs="?")
    arguments = parser.parse_args()
    output = arguments.output or SAMPLE / f"{arguments.name}.dlpk"
    build(arguments.name, arguments.weights, output)
    print(f"{output}: {output.stat().st_size} bytes")


if __name__ == "__main__":
    main()

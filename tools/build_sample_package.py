"""Build resources/sample/tree_crowns.dlpk from its source and the trained weights.

    python tools/build_sample_package.py WEIGHTS.pt [OUTPUT.dlpk]

The same input gives the same bytes: times and the order of members are fixed.
"""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path

SAMPLE = Path(__file__).resolve().parent.parent / "resources" / "sample"
SOURCE = SAMPLE / "tree_crowns"
EPOCH = (2026, 1, 1, 0, 0, 0)


def build(weights: Path, output: Path) -> None:
    """Zip the source of the sample with its weights."""
    members = {path.name: path for path in SOURCE.iterdir() if path.is_file()} | {"tree_crowns.pt": weights}
    with zipfile.ZipFile(output, "w") as package:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            package.writestr(entry, members[name].read_bytes())


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("output", type=Path, nargs="?", default=SAMPLE / "tree_crowns.dlpk")
    arguments = parser.parse_args()
    build(arguments.weights, arguments.output)
    print(f"{arguments.output}: {arguments.output.stat().st_size} bytes")


if __name__ == "__main__":
    main()

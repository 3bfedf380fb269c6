"""Build the zip that QGIS's plugin manager installs: what git tracks and the plugin needs, in one folder.

python tools/package.py    writes build/deep_learning_packages-VERSION.zip
"""

from __future__ import annotations

import configparser
import subprocess
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAME = "deep_learning_packages"
SHIPPED = ("provider", "algorithms", "inference", "worker", "resources", "i18n", "docs")
FILES = ("__init__.py", "metadata.txt", "LICENSE", "README.md", "CHANGELOG.md")


def main() -> None:
    """Zip."""
    metadata = configparser.ConfigParser(interpolation=None)
    metadata.read(ROOT / "metadata.txt", encoding="utf-8")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    names = [name for name in listed.stdout.split("\0") if name in FILES or name.split("/")[0] in SHIPPED]
    output = ROOT / "build" / f"{NAME}-{metadata['general']['version']}.zip"
    output.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as package:
        for name in names:
            package.write(ROOT / name, f"{NAME}/{name}")
    print(f"{output.relative_to(ROOT)}: {len(names)} files, {output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()

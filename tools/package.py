"""Build the zip that QGIS's plugin manager installs, and scan it as the plugin site does with every upload.

python tools/package.py    writes build/deep_learning_packages-VERSION.zip; the status is not 0 when the site would refuse it
"""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAME = "deep_learning_packages"
SHIPPED = ("provider", "algorithms", "inference", "worker", "resources", "i18n", "docs")
FILES = ("__init__.py", "metadata.txt", "LICENSE", "README.md", "CHANGELOG.md", "SECURITY.md")
MOST_BYTES = 25_000_000
REQUIRED = ("name", "description", "version", "qgisMinimumVersion", "author", "email", "about", "tracker", "repository")
REFUSED = re.compile(r"\.(exe|dll|so|dylib|bat|sh|ps1|cmd|pyc)$|__pycache__|__MACOSX|\\|\.\.|^/|^[a-zA-Z]:|/\.git")
NOT_ASKED = "B404"
"""The one rule of Bandit that the site has switched off and that concerns us: importing subprocess."""


def main() -> int:
    """Build and scan."""
    metadata = configparser.ConfigParser(interpolation=None)
    metadata.read(ROOT / "metadata.txt", encoding="utf-8")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    names = [name for name in listed.stdout.split("\0") if name in FILES or name.split("/")[0] in SHIPPED]
    output = ROOT / "build" / f"{NAME}-{metadata['general']['version']}.zip"
    output.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as package:
        for name in names:
            package.write(ROOT / name, f"{NAME}/{name}")
    size = output.stat().st_size
    print(f"{output.relative_to(ROOT)}: {len(names)} files, {size / 1e6:.1f} MB")
    problems = [f"{size} bytes are more than {MOST_BYTES}"] if size > MOST_BYTES else []
    problems += [f"metadata.txt lacks {key}" for key in REQUIRED if not metadata["general"].get(key)]
    problems += [f"{name} is missing" for name in FILES if name not in names]
    problems += [f"{name} is refused" for name in names if REFUSED.search(name) or name.startswith("tests/")]
    problems += scanned(output)
    print("\n".join(problems) or "The plugin site's scan finds nothing.")
    return len(problems)


def scanned(package: Path) -> list[str]:
    """What Bandit, with no settings but those beside the code, and detect-secrets find in the unpacked zip."""
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(package).extractall(folder)
        found = report(["bandit", "-q", "-r", ".", "-s", NOT_ASKED, "-f", "json"], folder)["results"]
        problems = [f"{each['filename']}:{each['line_number']}: {each['test_id']} {each['issue_text']}" for each in found]
        secrets = report(["detect_secrets", "scan", "--all-files", "."], folder)["results"]
        return problems + [f"{name}:{each['line_number']}: {each['type']}" for name in secrets for each in secrets[name]]


def report(command: list[str], folder: str) -> dict[str, list[dict[str, str]]]:
    """The JSON that a tool prints; both end with a status of their own."""
    done = subprocess.run([sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, check=False)
    result: dict[str, list[dict[str, str]]] = json.loads(done.stdout)
    return result


if __name__ == "__main__":
    sys.exit(main())

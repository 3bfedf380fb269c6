"""Collect the strings in tr() into i18n/deep_learning_packages.ts, the source of all translations.

Qt's own lupdate knows contexts by class; here all strings have one context, as the engine has no classes of Qt.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("provider", "algorithms", "inference")
CONTEXT = "DeepLearningPackages"
TARGET = ROOT / "i18n" / "deep_learning_packages.ts"


def strings() -> dict[str, str]:
    """The first argument of every call of tr(), with the place where it stands first."""
    found: dict[str, str] = {}
    for path in sorted(file for room in ROOMS for file in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "tr" and node.args:
                text = node.args[0]
                if not isinstance(text, ast.Constant):
                    sys.exit(f"{path}:{node.lineno}: tr() needs a plain string, so that it can be translated")
                found.setdefault(str(text.value), path.relative_to(ROOT).as_posix())
    return found


def main() -> None:
    """Write the file."""
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        "<!DOCTYPE TS>",
        '<TS version="2.1">',
        "<context>",
        f"<name>{CONTEXT}</name>",
    ]
    for text, place in strings().items():
        lines.append(f'<message><location filename="../{place}"/><source>{escape(text)}</source>')
        lines.append('<translation type="unfinished"/></message>')
    TARGET.write_text("\n".join([*lines, "</context>", "</TS>", ""]), encoding="utf-8")
    print(f"{TARGET.relative_to(ROOT)}: {len(strings())} strings")


if __name__ == "__main__":
    main()

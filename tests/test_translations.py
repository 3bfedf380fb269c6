"""The strings of the code are in i18n, and placeholders in them can be filled."""

from __future__ import annotations

import importlib.util
import string
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]


def test_all_strings_are_collected():
    spec = importlib.util.spec_from_file_location("collect_strings", ROOT / "tools" / "collect_strings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    listed = {message.findtext("source") for message in ElementTree.parse(module.TARGET).iter("message")}
    assert listed == set(module.strings()), "run make translations"
    for text in listed:
        assert all(name is None or name.isidentifier() for _, name, _, _ in string.Formatter().parse(text)), text


def test_translated_strings_are_used(qgis_app):
    from deep_learning_packages.inference import translation

    translation.set_translator({"{count} layers": "{count} Ebenen"}.get)
    try:
        assert translation.tr("{count} layers", count=3) == "3 Ebenen"
    finally:
        translation.set_translator(str)

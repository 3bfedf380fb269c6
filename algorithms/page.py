"""The frame of our HTML pages: self-contained, for screen and print, light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
:root { color-scheme: light dark; --ink: #1c2329; --paper: #ffffff; --soft: #5d6b76; --line: #d5dce1; --bar: #2f7d5b;
  --warn: #8a5a00; --warn-paper: #fff4dc; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e9ed; --paper: #1b2025; --soft: #9fadb8; --line: #3a444c;
  --bar: #58b78c; --warn: #ffd58a; --warn-paper: #3a2f17; } }
@media print { :root { --ink: #000; --paper: #fff; --soft: #444; --line: #bbb; --bar: #2f7d5b; --warn: #000; --warn-paper: #fff; }
  figure, tr { break-inside: avoid; } h2 { break-after: avoid; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p.lead { color: var(--soft); margin-top: 0; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; } th { color: var(--soft); font-weight: 500; }
td:first-child { white-space: nowrap; }
.swatch { display: inline-block; width: 1rem; height: 1rem; border: 1px solid var(--soft); border-radius: 2px;
  vertical-align: -2px; }
.warning { color: var(--warn); background: var(--warn-paper); border-left: 3px solid var(--warn); padding: .4rem .8rem; }
figure { margin: 0; } figcaption { color: var(--soft); font-size: .85rem; }
.crops { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); gap: .8rem; }
.crops svg { width: 100%; }
svg { max-width: 100%; height: auto; display: block; } code { font-size: .92em; }
.bar { fill: var(--bar); } svg text { fill: var(--soft); font: 11px system-ui, sans-serif; }
@media print { .crops { grid-template-columns: repeat(6, 1fr); gap: .4rem; break-inside: avoid; }
  .swatch { print-color-adjust: exact; } }
"""


def document(title: str, body: str, lead: str = "") -> str:
    """A whole page.

    Args:
        title: Plain text.
        body: HTML.
        lead: A sentence under the title, plain text.
    """
    below = f'<p class="lead">{escape(lead)}</p>' if lead else ""
    return (
        '<!DOCTYPE html>\n<html><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body><h1>{escape(title)}</h1>{below}\n{body}\n</body></html>\n"
    )


def swatch(color: str) -> str:
    """A little square of a CSS colour; nothing for an empty text."""
    return f'<span class="swatch" style="background: {color}"></span>' if color else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table.

    Args:
        head: Plain text; empty for none.
        rows: HTML of the cells.
    """
    heads = f"<thead><tr>{''.join(f'<th>{escape(each)}</th>' for each in head)}</tr></thead>" if head else ""
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table>{heads}<tbody>{body}</tbody></table>"

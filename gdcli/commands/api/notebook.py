"""How runs, sweeps and comparisons show themselves in a notebook, and the bar that is shown meanwhile."""

from __future__ import annotations

import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from importlib import import_module
from math import isfinite
from typing import TYPE_CHECKING, Any

from gdcli.commands.context import Show
from gdcli.errors import GdcliError, visible
from gdcli.report import tables

if TYPE_CHECKING:
    from gdcli.report.plots import Form

AFTER_SECONDS, EVERY_SECONDS = 0.5, 0.1
MOST_ROWS = 20
"""Rows of a table that a notebook shows."""


def is_notebook() -> bool:
    """Say whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


@contextmanager
def bar(unit: str, total: int) -> Iterator[Show]:
    """Yield what shows a bar below the cell, of what takes longer than half a second; it goes when all is done."""
    page = import_module("IPython.display")  # a notebook has it

    begun = told = time.monotonic()
    handle: Any = None

    def show(done: float, loss: float, work: float) -> None:
        nonlocal told, handle
        now = time.monotonic()
        if now - begun < AFTER_SECONDS or now - told < EVERY_SECONDS:
            return
        told = now
        shown = page.HTML(bar_html(unit, total, done, loss))
        if handle is None:
            handle = page.display(shown, display_id=True)
        else:
            handle.update(shown)

    try:
        yield show
    finally:
        if handle is not None:
            handle.update(page.HTML(""))


def bar_html(unit: str, total: int, done: float, loss: float) -> str:
    """Return the bar.

    >>> bar_html("epoch", 100, 7.0, 0.25)
    '<progress value="7" max="100"></progress> epoch 7/100, loss 0.25'
    """
    name = "loss" if unit == "epoch" else "best"
    text = f", {name} {loss:.6g}" if isfinite(loss) else ""
    return f'<progress value="{int(done)}" max="{total}"></progress> {escape(unit)} {int(done):,}/{total:,}{text}'


def of_pairs(title: str, pairs: Mapping[str, Any]) -> str:
    """Return names and values as a table of HTML.

    >>> of_pairs("a<b", {"loss": 0.25})
    '<b>a&lt;b</b><table><tr><th style="text-align:left">loss</th><td style="text-align:left">0.25</td></tr></table>'
    """
    left = ' style="text-align:left"'
    rows = (f"<tr><th{left}>{_safe(name)}</th><td{left}>{_safe(value)}</td></tr>" for name, value in pairs.items())
    return f"<b>{_safe(title)}</b><table>{''.join(rows)}</table>"


def of_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as a table of HTML, as many as one can look at."""
    names = list(dict.fromkeys(key for row in rows[:MOST_ROWS] for key in row))
    head = "".join(f"<th>{_safe(name)}</th>" for name in names)
    body = "".join(
        f"<tr>{''.join(f'<td>{_safe(row.get(name))}</td>' for name in names)}</tr>" for row in rows[:MOST_ROWS]
    )
    more = f"<p>and {len(rows) - MOST_ROWS:,} more rows</p>" if len(rows) > MOST_ROWS else ""
    return f"<table><tr>{head}</tr>{body}</table>{more}"


def of_text(text: str) -> str:
    """Return a text of columns as it is.

    >>> of_text("a < b")
    '<pre>a &lt; b</pre>'
    """
    return f"<pre>{escape(visible(text, keep=chr(10)))}</pre>"


def of_picture(draw: Callable[[Form], bytes], title: str) -> str:
    """Return a picture inside the HTML; nothing where there is none to draw."""
    try:
        picture = draw("png")
    except (GdcliError, ValueError):  # nothing recorded, or no axes: the table is shown all the same
        return ""
    return (
        f'<img alt="{_safe(title)}" style="max-width:640px" src="data:image/png;base64,{b64encode(picture).decode()}">'
    )


def _safe(value: Any) -> str:
    text = "" if value is None else tables.number(value) if isinstance(value, float) else str(value)
    return escape(visible(text))

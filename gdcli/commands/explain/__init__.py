"""The worked backward pass: every number of one training step written out, by hand as it were.

`explain` gives the whole step as a tree of quantities, `quantities` some of them by name; `render` and `only` write
them as text, Markdown or LaTeX. All arithmetic is Python's own on float64, in the order in which it is written.
"""

from __future__ import annotations

from gdcli.commands.explain.formats import WIDTH, Format, lines, only, render
from gdcli.commands.explain.point import trained_before
from gdcli.commands.explain.sheet import gaps_of, key_rows, sheet
from gdcli.commands.explain.tree import Explanation, Quantity
from gdcli.commands.explain.worked import WorkedQuantities, explain, quantities, stepped

__all__ = [
    "WIDTH", "Explanation", "Format", "Quantity", "WorkedQuantities", "explain", "gaps_of", "key_rows", "lines", "only",
    "quantities", "render", "sheet", "stepped", "trained_before",
]  # fmt: skip

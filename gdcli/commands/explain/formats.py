"""An explanation as text for a terminal, as Markdown with mathematics, and as LaTeX."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

from gdcli.commands.explain.expression import GREEK, Expression, Notation, blank, number, terms
from gdcli.commands.explain.expression import text as plain_text
from gdcli.commands.explain.tree import Explanation, Group, Quantity
from gdcli.report.tables import aligned

WIDTH = 100
"""Columns of a line of text, wherever its parts are shorter and a terminal has them."""

NARROWEST = 40

Format = Literal["text", "markdown", "latex"]

Line = list[list[str]]  # the terms of a sum, each in factors


def render(explanation: Explanation, form: Format = "text", width: int = WIDTH) -> str:
    """Return the explanation in a format, ending in a newline; lines of text have so many columns, at most `WIDTH`."""
    if form == "text":
        return _text(explanation, max(NARROWEST, min(WIDTH, width)))
    return {"markdown": _markdown, "latex": _latex}[form](explanation)


def only(quantities: Iterable[Quantity], form: Format = "text") -> str:
    """Return single quantities: as text a name and its value on a line each, else worked out."""
    found = tuple(quantities)
    if form == "text":
        return "".join(f"{one.title or one.key}: {one.value!r}\n" for one in found)
    return "\n".join(_math_block(found) if form == "markdown" else _latex_quantities(found)) + "\n"


def lines(quantity: Quantity) -> list[str]:
    """Return a quantity as its lines of a whole explanation in text: the chain, the formula, numbers, the value."""
    return _text_quantity(quantity, 0, WIDTH)


def _sides(quantity: Quantity) -> list[tuple[Expression, Notation]]:
    """Return the right-hand sides of a quantity: chain, formula, numbers, value; one that repeats as text is left out.

    So is a chain of local derivatives that tells no more than the quantity's own name.
    """
    symbols, numbers = Notation(), Notation(numbers=True)
    result = number(quantity.value) if quantity.blank is None else blank(quantity.blank, quantity.value)
    every = [(quantity.formula, symbols), (quantity.worked, numbers), (result, numbers)]
    if quantity.chain is not None and plain_text(quantity.chain) != quantity.name.text:
        every.insert(0, (quantity.chain, symbols))
    written = [_joined(terms(*side)) for side in every]
    return [side for k, side in enumerate(every) if k == 0 or written[k] != written[k - 1]]


def worked_out(quantity: Quantity) -> str:
    """Return a quantity on one line, with all its right-hand sides."""
    return " = ".join([quantity.name.text, *(_joined(terms(*side)) for side in _sides(quantity))])


def _joined(side: Line) -> str:
    return " ".join(" ".join(factors) for factors in side)


# --- text -------------------------------------------------------------------------------------------------------------


def _text(explanation: Explanation, most: int) -> str:
    lines = [explanation.title, "=" * min(len(explanation.title), most)]
    if explanation.description:
        lines += [explanation.description]
    for section in explanation.sections:
        lines += ["", section.title, "-" * len(section.title)]
        for k, group in enumerate(section.groups):
            lines += ([""] if k else []) + _text_group(group, most)
    return "\n".join(lines) + "\n"


def _text_group(group: Group, most: int) -> list[str]:
    lines = [f"{group.title}:"] if group.title else []
    lines += [line for note in group.notes for line in _lines(note, most)]
    if group.table is not None:
        lines += aligned(group.table.header, group.table.rows).splitlines()
    width = max((len(one.name.text) for one in group.quantities), default=0)
    blocks = [_text_quantity(one, min(width, 24), most) for one in group.quantities]
    for k, block in enumerate(blocks):
        apart = k > 0 and max(len(block), len(blocks[k - 1])) > 2
        lines += ([""] if apart else []) + block
    return lines


def _text_quantity(quantity: Quantity, width: int, most: int) -> list[str]:
    name = quantity.name.text.ljust(width)
    note = f"   ({quantity.note})" if quantity.note else ""
    found = [terms(*side) for side in _sides(quantity)]
    line = f"{name} = " + " = ".join(map(_joined, found)) + note
    if len(line) <= most:
        return [line]
    margin, lines = " " * (len(name) + 1), list[str]()
    for k, side in enumerate(found):
        head = f"{name} = " if not k else f"{margin}= "
        wrapped = _wrapped(side, most - len(margin))
        lines += [head + wrapped[0], *(margin + rest for rest in wrapped[1:])]
    if len(lines[-1]) + len(note) <= most:
        return [*lines[:-1], lines[-1] + note]
    return lines + [f"{margin}  {part}" for part in _lines(note.strip(), most - len(margin) - 2)]


def _lines(sentence: str, width: int) -> list[str]:
    """Break a sentence between its words."""
    return textwrap.wrap(sentence, width, break_long_words=False, break_on_hyphens=False)


def _wrapped(side: Line, width: int) -> list[str]:
    """Break a sum before its terms, and a term that is still too long before its factors.

    A line that begins with the sign of a term stands two columns to the left, under the equals sign.
    """
    lines: list[str] = []
    for k, factors in enumerate(side):
        whole = " ".join(factors)
        if lines and len(lines[-1]) + 1 + len(whole) <= width:
            lines[-1] += f" {whole}"
            continue
        lines.append(f"  {factors[0]}" if not k else factors[0])
        pieces = [piece for factor in factors[1:] for piece in _pieces(factor, width)]
        if len(lines[-1]) > width:
            first, *inner = _pieces(lines.pop(), width)
            lines, pieces = [*lines, first], inner + pieces
        for part in pieces:
            if len(lines[-1]) + 1 + len(part) <= width:
                lines[-1] += f" {part}"
            else:
                lines.append(f"    {part}")
    return [lines[0][2:], *lines[1:]]


def _pieces(part: str, width: int) -> list[str]:
    """Break a factor that is itself too long for a line, before the signs within it."""
    return re.split(r"(?<=\S) (?=[-+−·/] )", part) if len(part) > width - 4 else [part]


# --- LaTeX ------------------------------------------------------------------------------------------------------------

_LATEX_TEXT = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "|": "$|$", '"': "''",
    "−": "$-$", "·": r"$\cdot$", "≤": r"$\leq$", "≥": r"$\geq$", "′": "$'$", "″": "$''$", "⁺": "$^{+}$",
    "⁻": "$^{-}$", **{letter: f"${name}$" for letter, name in GREEK.items()},
}  # fmt: skip


def latex_text(text: str) -> str:
    """Return any text for LaTeX: nothing in it is a command, and what LaTeX's fonts have not is a question mark."""
    return "".join(
        _LATEX_TEXT.get(character) or (character if character.isprintable() and ord(character) < 0x180 else "?")
        for character in " ".join(text.split())
    )


def _latex(explanation: Explanation) -> str:
    lines = ["% The body of a document with \\usepackage{amsmath}.", rf"\section*{{{latex_text(explanation.title)}}}"]
    if explanation.description:
        lines += [rf"\noindent {latex_text(explanation.description)}\par"]
    for section in explanation.sections:
        lines += ["", rf"\subsection*{{{latex_text(section.title)}}}"]
        for group in section.groups:
            lines += _latex_group(group)
    return "\n".join(lines) + "\n"


def _latex_group(group: Group) -> list[str]:
    lines = [rf"\subsubsection*{{{latex_text(group.title)}}}"] if group.title else [r"\medskip"]
    lines += [rf"\noindent {latex_text(note)}\par" for note in group.notes]
    if group.table is not None:
        header, *rows = map(_latex_row, (group.table.header, *group.table.rows))
        lines.append(rf"\noindent\begin{{tabular}}{{{'l' * len(group.table.header)}}}")
        lines += [header, r"\hline", *rows, r"\end{tabular}\par"]
    return lines + _latex_quantities(group.quantities)


def _latex_row(cells: Sequence[str]) -> str:
    """Return a row of a table; a bracket at its beginning would belong to the line break before it."""
    text = " & ".join(map(latex_text, cells))
    return ("{}" if text.startswith("[") else "") + text + r" \\"


def _latex_quantities(quantities: Sequence[Quantity]) -> list[str]:
    lines = []
    for one in quantities:
        pairs = _latex_lines(one)
        lines += [rf"\noindent${pairs[0][0]} {pairs[0][1]}$\par"]
        lines += [rf"\noindent$\quad {head} {body}$\par" for head, body in pairs[1:]]
        lines += [rf"\noindent\quad ({latex_text(one.note)})\par"] if one.note else []
        lines += [r"\smallskip"]
    return lines


def _latex_lines(quantity: Quantity) -> list[tuple[str, str]]:
    """Return the lines of a quantity as LaTeX: what stands left of the equals sign, and the rest with it."""
    lines: list[tuple[str, str]] = []
    for expression, style in _sides(quantity):
        parts = [" ".join(factors) for factors in terms(expression, replace(style, latex=True))]
        rows = parts if len(_joined(terms(expression, style))) > WIDTH else [" ".join(parts)]
        lines.append((quantity.name.latex if not lines else "", f"= {rows[0]}"))
        lines += [("", rf"\quad {row}") for row in rows[1:]]
    return lines


# --- Markdown ---------------------------------------------------------------------------------------------------------


def markdown_text(text: str) -> str:
    """Return any text for Markdown: nothing in it is a mark or a tag."""
    marks = "\\`*_{}[]()<>#+-.!|~$&"
    return "".join(f"\\{character}" if character in marks else character for character in " ".join(text.split()))


def _markdown(explanation: Explanation) -> str:
    lines = [f"# {markdown_text(explanation.title)}", ""]
    if explanation.description:
        lines += [markdown_text(explanation.description), ""]
    for section in explanation.sections:
        lines += [f"## {markdown_text(section.title)}", ""]
        for group in section.groups:
            lines += _markdown_group(group)
    return "\n".join(lines)


def _markdown_group(group: Group) -> list[str]:
    lines = [f"### {markdown_text(group.title)}", ""] if group.title else []
    for note in group.notes:
        lines += [markdown_text(note), ""]
    if group.table is not None:
        rows = [f"| {' | '.join(map(markdown_text, row))} |" for row in (group.table.header, *group.table.rows)]
        lines += [rows[0], f"|{' --- |' * len(group.table.header)}", *rows[1:], ""]
    return lines + ([*_math_block(group.quantities), ""] if group.quantities else [])


def _math_block(quantities: Sequence[Quantity]) -> list[str]:
    lines = ["```math", r"\begin{aligned}"]
    for one in quantities:
        escaped = one.note.replace("_", r"\_")
        note = rf" \quad \text{{({escaped})}}" if escaped else ""
        pairs = _latex_lines(one)
        for k, (head, body) in enumerate(pairs):
            lines.append(rf"{head} &{body}{note if k == len(pairs) - 1 else ''} \\")
    return [*lines, r"\end{aligned}", "```"]

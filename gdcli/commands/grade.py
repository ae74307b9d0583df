"""A student's answers to a sheet, or to what a spec expects: `gdcli grade`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gdcli.commands.context import Frontend
from gdcli.commands.explain.answers import Answer, CheckedAnswer, checked, first_wrong, places
from gdcli.errors import SpecError
from gdcli.report.tables import aligned
from gdcli.spec.expectations import ExpectedNumber
from gdcli.spec.load import Loaded
from gdcli.spec.scalars import shown
from gdcli.storage.answers_file import AnswerRow, read_answers, unknown_name
from gdcli.storage.files import json_text


@dataclass(frozen=True, slots=True)
class Grade:
    """Answers with what they are: those of the chain in its order, then those to what the spec expects."""

    title: str
    file: Path
    chain: Sequence[CheckedAnswer]
    expected: Sequence[tuple[AnswerRow, ExpectedNumber]] = ()

    @property
    def right(self) -> int:
        """How many are right."""
        return sum(each.verdict == "right" for each in self.chain) + sum(each.met for _, each in self.expected)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.chain) + len(self.expected)

    @property
    def first_wrong(self) -> CheckedAnswer | None:
        """The first factor of the chain that is wrong in itself."""
        return first_wrong(self.chain)

    def text(self) -> str:
        """Return a table, and what is wrong first with its formula."""
        rows = [
            [each.answer.name, _written(each.answer.written), repr(float(each.quantity.value)), each.told]
            for each in self.chain
        ]
        rows += [[row.name, _written(row.value), str(each.expected), _met(row, each)] for row, each in self.expected]
        lines = [f"{self.title}: {self.right} of {self.count} right\n"]
        lines.append(aligned(["name", "answer", "expected", "result"], rows))
        if (wrong := self.first_wrong) is not None:
            from gdcli.commands.explain.formats import worked_out

            lines.append(
                f"first wrong: {worked_out(wrong.quantity)} ({shown(str(self.file), 200)}:{wrong.answer.line})\n"
            )
        return "".join(lines)

    def json(self) -> str:
        """Return all as one JSON document."""
        wrong = self.first_wrong
        answers: list[dict[str, Any]] = [
            {
                "name": each.answer.name, "line": each.answer.line, "answer": _number(each.answer.written),
                "expected": float(each.quantity.value), "result": each.verdict, "follows_from": list(each.roots),
                "note": each.note,
            }
            for each in self.chain
        ]  # fmt: skip
        answers += [
            {
                "name": row.name, "line": row.line, "answer": each.found, "expected": each.expected.plain(),
                "result": _met(row, each).replace("not answered", "missing"), "follows_from": [], "note": "",
            }
            for row, each in self.expected
        ]  # fmt: skip
        first = None if wrong is None else wrong.answer.name
        return json_text({"right": self.right, "answers": answers, "count": self.count, "first_wrong": first})


def grade(loaded: Loaded, path: Path, step: int, frontend: Frontend, key: Path | None = None) -> Grade:
    """Check answers by the numbers of a spec's step, and by what the spec expects of its run's end.

    What the ``key`` of a sheet has and the answers lack is not answered. Raises SpecError for a file that is none of
    answers, for names that there are not, and for a spec of whose step numbers are asked and which cannot be written
    out.
    """
    rows, expect = read_answers(path), loaded.spec.expect
    expected = [
        (row, ExpectedNumber(row.name, expect[row.name], _number(row.value))) for row in rows if row.name in expect
    ]
    title, rest = loaded.spec.name, [row for row in rows if row.name not in expect]
    asked = [] if key is None else read_answers(key)
    if not rest and not asked:
        return Grade(title, path, [], expected)
    frontend.engine()
    from gdcli.commands.explain import explain

    explanation = explain(loaded, step)
    known = places(explanation)
    problems = [
        unknown_name(file, row, [*known, *expect])
        for file, rows in ((path, rest), (key, asked))
        for row in rows
        if file is not None and _plain(row.name) not in known
    ]
    answers: dict[int, Answer] = {}
    for row in rest if not problems else ():
        place = known[_plain(row.name)]
        if place in answers:
            first = answers[place]
            raise SpecError(f"{path}:{row.line}:{row.name_column}: '{row.name}' is {first.name}, see line {first.line}")
        answers[place] = Answer(row.name, row.line, row.value)
    if problems:
        raise SpecError(problems)
    for row in asked:
        answers.setdefault(known[_plain(row.name)], Answer(row.name, row.line, None))
    return Grade(explanation.title, path, checked(explanation, answers), expected)


def _plain(name: str) -> str:
    """Return a name with the prime of print in place of an apostrophe."""
    return name.replace("'", "′")


def _number(written: Any) -> float | None:
    return None if written is None else float(written)


def _written(written: Any) -> str:
    return "" if written is None else str(written)


def _met(row: AnswerRow, each: ExpectedNumber) -> str:
    return "not answered" if row.value is None else "right" if each.met else "wrong"

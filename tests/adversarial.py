"""Texts of up to 256 KiB that once took a reader seconds or minutes, each by what is slow about it."""

from __future__ import annotations

from collections.abc import Callable

SIZE = 256 * 1024 - 64


def _filled(part: str, head: str = "", tail: str = "") -> str:
    return head + part * ((SIZE - len(head) - len(tail)) // len(part)) + tail


SLOW_TO_SCAN = {
    "brackets": _filled("[", "a: "),
    "braces": _filled("{", "a: "),
    "brackets within the depth": "a: " + "[" * 30 + _filled("[],", "", " " * 60),
    "texts within the depth": "a: " + "[" * 30 + _filled("a ", "", " " * 60),
    "empty lists": _filled("[],", "a: [", "]"),
    "empty mappings": _filled("{},", "a: [", "]"),
    "numbers": _filled("1,", "a: [", "]"),
    "numbers on lines": _filled("1,\n ", "a: [", "]"),
    "numbers and comments": _filled("1, #\n ", "a: [", "]"),
    "texts in quotes": _filled('"a",', "a: [", "]"),
    "texts in single quotes": _filled("'a',", "a: [", "]"),
    "list entries": _filled("- 1\n"),
    "list entries on one line": _filled("- "),
    "keys": "".join(f"k{k}: 1\n" for k in range(23_000)),
    "one key": _filled("k: 1\n"),
    "keys in braces": _filled("a: 1,", "a: {", "}"),
    "question marks": _filled("? "),
    "colons": _filled(": "),
    "blank lines": _filled("\n"),
    "lines of spaces": _filled(" \n"),
    "returns": _filled("\r"),
    "a comment": _filled("#"),
    "comments": _filled("#\n"),
    "a word": _filled("a"),
    "words": _filled("a ", "a: "),
    "words on lines": _filled("a\n ", "a: "),
    "words in a bracket": _filled("a ", "a: [", "]"),
    "a key over lines": _filled("a\n", "k: {", ": 1}"),
    "no space after colons": _filled("a:b\n"),
    "quotes over lines": _filled("a\n ", 'k: "', '"'),
    "single quotes over lines": _filled("a\n ", "k: '", "'"),
    "escapes": _filled("\\u0041", 'k: "', '"'),
    "quotes within quotes": _filled("''", "k: '", "'"),
    "a block of text": _filled(" a\n", "k: |\n"),
    "a folded text": _filled(" a\n", "k: >\n"),
    "a folded text of blank lines": _filled("  a\n\n", "k: >\n"),
    "a tag": _filled("a", "k: !", " b"),
    "a tag of escapes": _filled("%41", "k: !<", "> b"),
    "anchors": _filled("- &a b\n"),
    "aliases": _filled("*a,", "k: [", "]"),
    "documents": _filled("---\n"),
    "directives": _filled("%a\n"),
    "numbers in an open bracket": "a: [" + "1.2345678901, " * 18_000,
    "lists in an open bracket": "a: [" + "[1.2345678901, 12345],  " * 9_900,
    "keys before a bracket": "".join(f"k{k}: {'a' * 40}\n" for k in range(4_900)) + "]",
    "list entries before a bracket": "- 1.234567890\n" * 18_000 + "]",
    "comments before a bracket": "# abc\n" * 39_000 + "]",
    "digits": _filled("1", "k: "),
    "base sixty": _filled("1:", "k: ", "1"),
    "control characters": _filled("\x01", "k: "),
    "lines of control characters": _filled("\x01\n"),
}

_DATA = "data: {x: [1, 2], y: [2, 4]}\n"
_GOOD = _DATA + "model: linear\nloss: mse\noptimizer: {name: sgd, lr: 0.01}\n"
_MLP = _DATA + "loss: mse\noptimizer: {name: sgd, lr: 0.01}\nmodel: {type: mlp, layers: ["
_OBJECTIVE = "optimizer: sgd\nmodel: {type: objective, "


def _many(count: int, item: Callable[[int], str]) -> str:
    return ", ".join(map(item, range(count)))


def _with(old: str, new: str) -> str:
    return _GOOD.replace(old, new)


MANY_COMPLAINTS = {
    "widths that are text": _MLP + _many(19_000, lambda k: "a") + "]}\n",
    "widths below 1": _MLP + _many(19_000, lambda k: "-1") + "]}\n",
    "layers": _MLP + _many(19_000, lambda k: "1") + "]}\n",
    "misspelled parameters": _MLP
    + _many(999, lambda k: "1") + "], init: {" + _many(2_400, lambda k: f"linea{k}.weigt: 1") + "}}\n",
    "misspelled frozen parameters": _MLP
    + _many(999, lambda k: "1") + "], freeze: [" + _many(9_000, lambda k: f"linea{k}.weigt") + "]}\n",
    "globs": _MLP + _many(999, lambda k: "1") + "], init: {" + _many(2_400, lambda k: f"'*{k}*': 1") + "}}\n",
    "globs to freeze": _MLP + _many(999, lambda k: "1") + "], freeze: [" + _many(9_000, lambda k: f"'*{k}*x'") + "]}\n",
    "a long glob": _with("model: linear", "model: {type: linear, freeze: ['" + "*a" * 4_900 + "b']}"),
    "long globs": _with(
        "model: linear", "model: {type: linear, freeze: [" + _many(25, lambda k: f"'{'[!a-z]*' * 1300}{k}'") + "]}"
    ),
    "frozen numbers": _with("model: linear", "model: {type: linear, freeze: [" + _many(19_000, lambda k: "1") + "]}"),
    "groups": _with("lr: 0.01}", "lr: 0.01, groups: {" + _many(2_400, lambda k: f"weigh{k}: {{lr: 1}}") + "}}"),
    "groups of a scheduler": _GOOD
    + "scheduler: {groups: {" + _many(1_600, lambda k: f"weigh{k}: {{name: step, step_size: 1}}") + "}}\n",
    "unknown keys": _GOOD + "".join(f"optimizer{k}: 1\n" for k in range(4_900)),
    "long unknown keys": _GOOD + "".join(f"{'optimizer' * 13}{k}: 1\n" for k in range(1_900)),
    "unknown arguments": _with("lr: 0.01}", "lr: 0.01, " + _many(4_900, lambda k: f"momentu{k}: 1") + "}"),
    "unknown keys of data": "data: {" + _many(4_900, lambda k: f"xx{k}: 1") + "}\n" + _GOOD.split("\n", 1)[1],
    "data that are text": _with("[1, 2]", "[" + _many(19_000, lambda k: "a") + "]"),
    "deep data": _with("[1, 2]", "[" * 28 + "1" + "]" * 28),
    "variables": _OBJECTIVE + "expression: x, start: {" + _many(4_900, lambda k: f"x{k}: 1") + "}}\n",
    "variables that are text": _OBJECTIVE + "expression: x, start: {" + _many(4_900, lambda k: f"x{k}: a") + "}}\n",
    "variables not used": _OBJECTIVE + "expression: x, start: {x: 1, " + _many(998, lambda k: f"x{k}: 1") + "}}\n",
    "constants that are text": _OBJECTIVE
    + "expression: x, start: {x: 1}, constants: {" + _many(4_800, lambda k: f"x{k}: a") + "}}\n",
    "names without a value": _OBJECTIVE
    + f"expression: '{'+'.join(f'z{k}' for k in range(240))}', start: {{x: 1}}, constants: {{"
    + _many(4_000, lambda k: f"y{k}: 1") + "}}\n",
    "parentheses": _OBJECTIVE + f"expression: '{'(' * 1_900}', start: {{x: 1}}}}\n",
    "powers": _OBJECTIVE + f"expression: '{'x**' * 600}2', start: {{x: 1}}}}\n",
    "digits": _OBJECTIVE + f"expression: '{'1' * 1_990}', start: {{x: 1}}}}\n",
    "torch layers": _DATA + "loss: mse\nmodel: {type: sequential, layers: [" + _many(19_000, lambda k: "ReLU") + "]}\n",
    "grids": _GOOD + "sweep: {parameters: {" + _many(4_900, lambda k: f"x{k}: 'rnge(0,1e18,1)'") + "}}\n",
    "brackets in grids": _GOOD + "sweep: {parameters: {" + _many(25, lambda k: f"x{k}: '{'(1,' * 3_300}'") + "}}\n",
    "digits in grids": _GOOD + "sweep: {parameters: {" + _many(25, lambda k: f"x{k}: '0:{'1' * 9_900}'") + "}}\n",
    "contenders": _GOOD + "compare: {optimizers: {" + _many(2_400, lambda k: f"sgd{k}: {{lr: 1}}") + "}}\n",
    "batches": _GOOD + "compare: {batches: [" + _many(19_000, lambda k: "ful") + "]}\n",
    "numbers to predict": _GOOD + "print: {predict: [" + _many(19_000, lambda k: "a") + "]}\n",
    "weights that are text": _with(
        "{x: [1, 2], y: [2, 4]}", "{generate: {kind: linear, weights: [" + _many(19_000, lambda k: "a") + "]}}"
    ),
    "milestones": _GOOD + "scheduler: {name: multi_step, milestones: [" + _many(19_000, lambda k: "a") + "]}\n",
    "columns of a file": _with(
        "{x: [1, 2], y: [2, 4]}", "{file: a.csv, target: y, features: [" + _many(19_000, lambda k: "1") + "]}"
    ),
    "start values": _with(
        "model: linear", "model: {type: linear, init: {weight: [" + _many(19_000, lambda k: "1") + "]}}"
    ),
    "classes": _with("[2, 4]", "[9007199254740991, 1]").replace("mse", "cross_entropy"),
    "a long style": _GOOD + f"print: {{style: '{'backprop' * 1_200}'}}\n",
    "a long loss": _with("mse", "mse" * 3_300),
    "a long optimizer": _with("sgd", "sgd" * 3_300),
    "a long device": _GOOD + f"device: '{'cuda' * 2_400}'\n",
    "a long name": _GOOD + f"name: '{'cuda' * 2_400}'\n",
}  # fmt: skip

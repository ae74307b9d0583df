"""Mutations of specs, as a slip of the hand or a hostile hand would make them: the same for the same seed."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

NASTY = [
    "", "~", "null", "true", "yes", "-1", "0", "1e400", "1e-400", ".nan", ".inf", "-.inf", "1e18",
    "1000000000000000000", "99999999999999999999", "0x1F", "0o17", "010", "1:30", "2026-13-45", "1_000",
    "\u0661\u0662", "'", '"', "[]", "{}", "[[]]", "[1, [2]]", "{a: 1}", "[" * 40, "{" * 40, "- - - -", "? ", ": ",
    "&a", "*a", "<<", "!!python/object:os.system x", "!!int abc", "%TAG", "---", "...", "|", ">", "#", "@x", "`x`",
    "\t", "\u0000", "\u001b[31m", "\u202e", "\u200b", "\ufeff", "\ud800", "\u2028", "\u0085", "\u00e9",
    "\ud83d\ude00", "a" * 200, "a" * 11000, "9" * 5000, '"\\U99999999"', '"\\ud800"', '"\\x1b"',
    "__import__('os').system('x')", "x**9**9**9", "(" * 100, "lambda: 0", "../../etc/passwd", "/dev/zero", "*",
    "[!a-z]*", "**********************************a", "sgd", "adam", "mse", "linear", "mlp", "objective",
    "sequential", "LazyLinear", "torch.load", "__class__", "range(0,1e18,1)", "zip(a=1,b=2)", "linspace(0,1,1e18)",
    "=1+1", "$$", "[/]", "lr:0.1",
]  # fmt: skip
_SCALAR = re.compile(r"[^\s,:\[\]{}#]+")

Mutation = Callable[[random.Random, str, Sequence[str]], str]


def _somewhere(rng: random.Random, text: str) -> int:
    return rng.randrange(len(text) + 1)


def flip(rng: random.Random, text: str, others: Sequence[str]) -> str:
    """Change one character to another of the first 256, or to one of another script."""
    place = _somewhere(rng, text)
    return text[:place] + chr(rng.choice([rng.randrange(256), rng.randrange(0x3000)])) + text[place + 1 :]


def delete(rng: random.Random, text: str, others: Sequence[str]) -> str:
    """Leave out up to 20 characters."""
    place = _somewhere(rng, text)
    return text[:place] + text[place + rng.randrange(1, 20) :]


def repeat(rng: random.Random, text: str, others: Sequence[str]) -> str:
    """Write a stretch twice, or thirty times."""
    place = _somewhere(rng, text)
    part = text[place : place + rng.randrange(1, 40)]
    return text[:place] + part * rng.choice([2, 2, 30]) + text[place + len(part) :]


def swap_lines(rng: random.Random, text: str, others: Sequence[str]) -> str:
    """Exchange two lines."""
    lines = text.split("\n")
    a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[a], lines[b] = lines[b], lines[a]
    return "\n".join(lines)


def splice(rng: random.Random, text: str, others: Sequence[str]) -> str:
    """Begin as this spec and go on as another."""
    other = rng.choice(others)
    return text[: _somewhere(rng, text)] + other[_somewhere(rng, other) :]


def replace_scalar(rng: random.Random, text: str, others: Sequence[str]) -> str:
    """Put something nasty where a key or a value stands, or beside it."""
    match = rng.choice(list(_SCALAR.finditer(text)) or [re.compile("").match("")])
    assert match is not None
    return text[: match.start()] + rng.choice(NASTY) + text[rng.choice([match.end(), match.end(), match.start()]) :]


def exchange_scalars(rng: random.Random, text: str, others: Sequence[str]) -> str:
    """Exchange two keys or values."""
    found = list(_SCALAR.finditer(text))
    if len(found) < 2:
        return text
    a, b = sorted(rng.sample(found, 2), key=lambda match: match.start())
    return text[: a.start()] + b[0] + text[a.end() : b.start()] + a[0] + text[b.end() :]


def indent(rng: random.Random, text: str, others: Sequence[str]) -> str:
    """Move a line to the right or to the left."""
    lines = text.split("\n")
    k = rng.randrange(len(lines))
    lines[k] = rng.choice([" ", "  ", "\t", "- "]) + lines[k] if rng.random() < 0.6 else lines[k].lstrip()
    return "\n".join(lines)


MUTATIONS: tuple[Mutation, ...] = (
    flip, delete, repeat, swap_lines, splice, replace_scalar, replace_scalar, exchange_scalars, indent,
)  # fmt: skip


def mutated(seed: int, texts: Sequence[str]) -> bytes:
    """Return one of the texts after one to three mutations; some with a byte that is not UTF-8, or as UTF-16."""
    rng = random.Random(seed)
    text = rng.choice(texts)
    for _ in range(rng.choice([1, 1, 2, 3])):
        text = rng.choice(MUTATIONS)(rng, text, texts)
    content = text.encode("utf-8", "surrogatepass")
    how = rng.random()
    if how < 0.03:
        place = rng.randrange(len(content) + 1)
        content = content[:place] + bytes([rng.randrange(128, 256)]) + content[place:]
    elif how < 0.05:
        content = text.replace("\n", rng.choice(["\r\n", "\r", "\n\n"])).encode("utf-8", "surrogatepass")
    elif how < 0.06:
        content = text.encode("utf-16", "surrogatepass")
    return content

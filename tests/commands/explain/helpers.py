"""Specs from dictionaries, and the arithmetic of a printed line by Python itself."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import yaml

from gdcli.commands.explain.expression import FUNCTIONS
from gdcli.spec import bundled, document, schema
from gdcli.spec.load import Loaded, load


def loaded_of(spec: dict[str, Any]) -> Loaded:
    text = yaml.safe_dump(spec).encode()
    return load(schema.parse(document.read(text, "spec.yaml"), "spec"), Path())


def bundled_of(name: str) -> Loaded:
    source = bundled.find(name)
    return load(schema.parse(document.read(source.text, source.shown), name), source.path.parent)


_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")


def evaluated(text: str) -> float:
    """Work out a printed line of numbers, in Python's own order of operations."""
    code = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹]+", lambda found: "**" + found.group().translate(_RAISED), text)
    code = re.sub(r"\|([^|]*)\|", r"abs(\1)", code)
    code = code.replace("·", "*").replace("−", "-").replace("√", "sqrt").replace("^", "**")
    names = {**FUNCTIONS, "inf": math.inf, "nan": math.nan}
    return eval(code, {"__builtins__": {}}, names)  # of text that this test's code made

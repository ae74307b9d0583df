"""The catalog has every ingredient of the zoo, with the arguments of its signature."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from gdcli.commands import catalog
from gdcli.errors import SpecError
from gdcli.report.styles import STYLES
from gdcli.zoo.activations import ACTIVATIONS
from gdcli.zoo.data import GENERATORS
from gdcli.zoo.losses import LOSSES
from gdcli.zoo.models import MODELS
from gdcli.zoo.optimizers import OPTIMIZERS

TABLES = {
    "model": MODELS, "loss": LOSSES, "activation": ACTIVATIONS, "optimizer": OPTIMIZERS, "data": GENERATORS,
    "style": STYLES,
}  # fmt: skip
EVERY = [entry for kind in catalog.KINDS for entry in catalog.entries(kind)]


@pytest.mark.parametrize("kind", TABLES)
def test_every_ingredient_is_there(kind: str) -> None:
    assert [entry.name for entry in catalog.entries(kind)] == [*TABLES[kind]]


@pytest.mark.parametrize("entry", EVERY, ids=lambda entry: f"{entry.kind}-{entry.name}")
def test_each_has_a_title_and_no_line_of_python(entry: catalog.CatalogEntry) -> None:
    assert entry.title.endswith((".", "..."))
    assert not any(mark in entry.text() for mark in (">>>", "Raises", "<class", "typing.", "annotated_types"))
    assert entry.name in entry.usage


def test_arguments_are_those_of_the_signature() -> None:
    (adam,) = catalog.find(["optimizer", "adam"])[0]
    keys = [p.name for p in inspect.signature(OPTIMIZERS["adam"]).parameters.values() if p.kind is p.KEYWORD_ONLY]
    assert [argument.name for argument in adam.arguments] == keys
    by_name = {argument.name: argument for argument in adam.arguments}
    assert by_name["lr"] == catalog.Argument("lr", "number, at least 0", "0.001")
    assert by_name["betas"].default == "[0.9, 0.999]"
    assert "θ ← θ − γ m/(1 − β₁ᵗ)" in adam.text()


def test_what_must_be_given_stands_in_the_usage() -> None:
    (mlp,) = catalog.find(["mlp"])[0]
    assert mlp.usage == "model: {type: mlp, layers: ...}"
    assert mlp.arguments[0].default == "required"
    assert mlp.arguments[1].takes == "the name of an activation"


def test_a_kind_has_its_plural_and_a_name_need_not_have_its_kind() -> None:
    assert catalog.find(["losses"])[0] == catalog.find(["loss"])[0] == list(catalog.entries("loss"))
    assert {"model", "data"} <= {entry.kind for entry in catalog.find(["linear"])[0]}
    assert catalog.find([])[0] == EVERY


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["optimiser"], "there is no kind or ingredient 'optimiser'. Did you mean 'optimizer'?"),
        (["optimizer", "adm"], "there is no optimizer 'adm'. Did you mean 'adam'?"),
        (["los", "mse"], "there is no kind 'los'. Did you mean 'loss'?"),
    ],
)
def test_unknown_words_name_the_nearest(words: list[str], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        catalog.find(words)
    assert str(caught.value) == message


def test_a_line_for_each() -> None:
    text = catalog.listing(EVERY)
    layers = len(catalog.entries(catalog.LAYER))  # have one line together
    assert len(text.splitlines()) == len(EVERY) - layers + 1 + 2 * len(catalog.KINDS) - 1
    assert "\n  mse " in text


def test_neither_torch_nor_matplotlib_is_imported() -> None:
    code = "import sys; from gdcli.commands import catalog; catalog.listing(catalog.find([])[0]); "
    code += "print('torch' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "False\n"

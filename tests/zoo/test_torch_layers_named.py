"""Every class of torch.nn is a layer of sequential models, or is refused with its reason."""

from __future__ import annotations

import inspect

import torch

from gdcli.zoo.torch_layers import ANY_NUMBER, LAYERS, NOT_LAYERS, RESIDUAL, why_not

CLASSES = {
    name
    for name in dir(torch.nn)
    if inspect.isclass(kind := getattr(torch.nn, name)) and issubclass(kind, torch.nn.Module)
}  # fmt: skip
CONTAINERS = {"ParameterDict", "ParameterList"}  # modules too


def test_every_class_of_torch_is_a_layer_or_has_a_reason() -> None:
    assert {name for name in CLASSES if name not in LAYERS and not why_not(name)} == set()
    assert {*LAYERS} <= CLASSES
    assert {*NOT_LAYERS} <= CLASSES | CONTAINERS | {"SyncBatchNorm", "DataParallel"}
    assert not {*LAYERS} & {*NOT_LAYERS}
    assert {*ANY_NUMBER} - {RESIDUAL} <= {*LAYERS}


def test_the_size_that_is_found_is_an_argument_of_torchs_class() -> None:
    for name, kind in LAYERS.items():
        given = inspect.signature(getattr(torch.nn, name)).parameters
        if kind.found and name not in ("RNN", "GRU", "LSTM"):  # theirs are open
            assert kind.found in given, name


def test_every_size_that_torch_requires_of_the_input_is_found() -> None:
    """The first argument without a default, where it is about the input."""
    of_input = {"in_features", "in_channels", "num_features", "num_channels", "input_size", "d_model", "embed_dim"}
    for name, kind in LAYERS.items():
        given = inspect.signature(getattr(torch.nn, name)).parameters
        assert {*given} & of_input <= {kind.found}, name


def test_each_has_a_line_of_its_own() -> None:
    titles = [kind.title for kind in LAYERS.values()]
    assert len({*titles}) == len(titles)
    assert all(title.endswith(".") and len(title) < 120 for title in titles)

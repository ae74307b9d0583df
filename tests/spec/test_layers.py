"""What a spec says of torch's own layers, told without torch."""

from __future__ import annotations

import torch

from gdcli.spec.models import TAKEN


def test_the_names_that_a_module_has_by_itself_are_known() -> None:
    """nn.Sequential refuses a layer by such a name, in a way that no user could read."""
    module = torch.nn.Sequential()
    assert {name for name in dir(module) if not name.startswith("_")} <= TAKEN
    for name in sorted(TAKEN & set(dir(module))):
        try:
            module.add_module(name, torch.nn.ReLU())
        except KeyError:
            continue
        raise AssertionError(f"torch takes a layer called {name}")

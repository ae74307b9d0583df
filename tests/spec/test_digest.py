"""A new key at its default changes neither config.yaml nor the digest in a folder's name: those of 0.1 stay."""

from __future__ import annotations

import pytest

from gdcli.spec.bundled import folder
from gdcli.spec.config import digest, filled_in
from gdcli.spec.document import read
from gdcli.spec.load import load
from gdcli.spec.schema import parse

OF_0_1 = {
    "chain_rule": "9af0452c", "himmelblau": "64099fc1", "house_price": "1d17537d", "linear_regression": "e544287e",
    "linear_regression_nn": "515d201e", "mlp": "4c983839", "rosenbrock": "513d8d62", "softmax_regression": "bab45f46",
    "vanishing_gradient": "d8884aec",
}  # fmt: skip
"""The digests of the folders that 0.1 made of these specs."""


@pytest.mark.parametrize("name", OF_0_1)
def test_a_spec_of_0_1_has_the_digest_that_it_had(name: str) -> None:
    path = folder() / f"{name}.yaml"
    spec = load(parse(read(path.read_bytes(), path.name), "stem"), folder()).spec
    assert digest(filled_in(spec)) == OF_0_1[name]

"""The loss of a spec on its data."""

from __future__ import annotations

from gdcli.spec.class_weights import weights_of
from gdcli.spec.load import Loaded
from gdcli.zoo.losses import LOSSES, Loss


def loss_for(loaded: Loaded) -> Loss | None:
    """Return the loss, class weights that are balanced by the training rows; None for an objective."""
    spec = loaded.spec.loss
    if spec is None:
        return None
    weights = weights_of(spec, loaded.training)
    return LOSSES[spec.name](**(spec.arguments if weights is None else {**spec.arguments, "class_weights": weights}))

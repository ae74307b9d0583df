"""From records and specs to what the plots take: functions, loss curves, gradients by layer, planes, networks."""

from .functions import activations, least_absolute, outlier, over_error, over_probability
from .layers import gradients, histogram, layer_of
from .networks import network
from .planes import Projection, plane, principal
from .runs import CurveSource, averages, curves

__all__ = [
    "CurveSource",
    "Projection",
    "activations",
    "averages",
    "curves",
    "gradients",
    "histogram",
    "layer_of",
    "least_absolute",
    "network",
    "outlier",
    "over_error",
    "over_probability",
    "plane",
    "principal",
]  # fmt: skip

"""Records to pictures: arrays in, the bytes of a PNG out, the same bytes each time.

Every picture of this list is a builder of a Figure, which a call draws once (`canvas.Picture`). Matplotlib is imported
inside functions, as its import takes longer than a drawing.
"""

from .animation import animated_curves, animated_plane
from .canvas import FigureHolder, Form, figure_of, in_form
from .fits import DrawnRows, decision_regions, fitted_curve
from .functions import Function, Outlier, activations, loss_functions
from .gradients import Histogram, gradient_norms
from .losses import FEW, Curve, averages, comparison, loss_curve, loss_curves
from .networks import EDGES, DrawnLayer, Neuron, network
from .surfaces import Plane, plane, surface
from .sweeps import Best, sensitivity, sweep_curve, sweep_profiles, sweep_runs
from .trails import Trail
from .training import EpochPanel, confusion_matrix, metric_curves, training_curves
from .watched import GradientImage, gradient_images, value_gradients

__all__ = [
    "EDGES",
    "FEW",
    "Best",
    "Curve",
    "DrawnLayer",
    "DrawnRows",
    "EpochPanel",
    "FigureHolder",
    "Form",
    "Function",
    "GradientImage",
    "Histogram",
    "Neuron",
    "Outlier",
    "Plane",
    "Trail",
    "activations",
    "animated_curves",
    "animated_plane",
    "averages",
    "comparison",
    "confusion_matrix",
    "decision_regions",
    "figure_of",
    "fitted_curve",
    "gradient_images",
    "gradient_norms",
    "in_form",
    "loss_curve",
    "loss_curves",
    "loss_functions",
    "metric_curves",
    "network",
    "plane",
    "sensitivity",
    "surface",
    "sweep_curve",
    "sweep_profiles",
    "sweep_runs",
    "training_curves",
    "value_gradients",
]  # fmt: skip

"""Records to pictures: arrays in, the bytes of a PNG out, the same bytes each time.

Every function of this list is two steps: a builder makes the Figure, ``to_png`` draws it once. Matplotlib is imported
inside functions, as its import takes longer than a drawing.
"""

from .animation import animated_curves, animated_plane
from .curves_of_runs import loss_curves
from .functions import Function, Outlier, activations, loss_functions
from .gradients import Histogram, LayerHistogram, gradient_norms
from .losses import Curve, comparison, loss_curve
from .networks import EDGES, DrawnLayer, Neuron, network
from .panels import Form
from .planes import Plane, plane
from .surfaces import paths, surface
from .sweeps import sweep_curve, sweep_runs
from .trails import Trail
from .tuning import Profile, Sensitivity, sensitivity, sweep_profiles

__all__ = [
    "EDGES",
    "Curve",
    "DrawnLayer",
    "Form",
    "Function",
    "Histogram",
    "LayerHistogram",
    "Neuron",
    "Outlier",
    "Plane",
    "Profile",
    "Sensitivity",
    "Trail",
    "activations",
    "animated_curves",
    "animated_plane",
    "comparison",
    "gradient_norms",
    "loss_curve",
    "loss_curves",
    "loss_functions",
    "network",
    "paths",
    "plane",
    "sensitivity",
    "surface",
    "sweep_curve",
    "sweep_profiles",
    "sweep_runs",
]  # fmt: skip

"""The layers of torch.nn that a sequential model may name: tensor in, tensor out, no code from the spec; no torch here.

Of each: a line of what it does, the size that is found where the spec leaves it out, and the axes that a row must have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

RESIDUAL = "residual"
"""Stands in the place of a class's name where layers are grouped and their input is added to what they give."""


@dataclass(frozen=True, slots=True)
class LayerKind:
    """One class of torch.nn."""

    title: str
    found: str = ""  # the argument that is found where it is left out: the length of an axis of its input
    axis: int = -1  # that axis of a row
    ranks: tuple[int, ...] = ()  # axes that a row may have; any where empty
    takes: str = ""  # the shape of a row in words, where ranks are given


_ROWS = {1: "[channels, length]", 2: "[channels, height, width]", 3: "[channels, depth, height, width]"}
_THINGS = {1: "sequences", 2: "images", 3: "volumes"}
_STEPS = "[steps, features]"


def _family(
    name: str, title: str, found: str = "", *, of: tuple[int, ...] = (1, 2, 3), plain: bool = False
) -> dict[str, LayerKind]:
    """Return the classes of a name for one, two and three dimensions, whose first axis of a row are the channels.

    Where ``plain`` a row needs no channels: torch takes its places alone too, each row by itself.
    """
    return {
        f"{name}{d}d": LayerKind(title.format(_THINGS[d]), found, 0, (d, d + 1) if plain else (d + 1,), _ROWS[d])
        for d in of
    }


def _elementwise(**titles: str) -> dict[str, LayerKind]:
    return {name: LayerKind(title) for name, title in titles.items()}


_AFFINE = {
    "Linear": LayerKind("x Wᵀ + b, over the last axis.", "in_features"),
    **_family("Conv", "Convolution over {}: a filter slides over the channels.", "in_channels"),
    **_family("ConvTranspose", "Convolution over {} backwards, which enlarges.", "in_channels"),
}
_SHAPES = {
    "Identity": LayerKind("Its input."),
    "Flatten": LayerKind("One axis of all, or of those from start_dim to end_dim; 0 are the rows."),
    "Unflatten": LayerKind("Several axes of one: dim, and unflattened_size, a list."),
    "Unfold": LayerKind("Patches of images, as columns.", ranks=(3,), takes=_ROWS[2]),
    "Fold": LayerKind("Images of patches, what overlaps added.", ranks=(2,), takes="[channels, patches]"),
    "ChannelShuffle": LayerKind("The channels of groups, mixed.", ranks=(2, 3, 4), takes=_ROWS[2]),
    "PixelShuffle": LayerKind("Channels as finer pixels.", ranks=(3,), takes=_ROWS[2]),
    "PixelUnshuffle": LayerKind("Pixels as channels of a coarser image.", ranks=(3,), takes=_ROWS[2]),
    "Upsample": LayerKind("Finer sequences, images or volumes.", ranks=(2, 3, 4), takes=_ROWS[2]),
    "UpsamplingNearest2d": LayerKind("Finer images, by the nearest pixel.", ranks=(3,), takes=_ROWS[2]),
    "UpsamplingBilinear2d": LayerKind("Finer images, interpolated.", ranks=(3,), takes=_ROWS[2]),
    **_family("ZeroPad", "A rim of zeros round {}.", plain=True),
    **_family("ConstantPad", "A rim of one value round {}.", plain=True),
    **_family("ReflectionPad", "A rim round {} that mirrors them.", plain=True),
    **_family("ReplicationPad", "A rim round {} that repeats their edges.", plain=True),
    **_family("CircularPad", "A rim round {} from their other side.", plain=True),
}
_POOLS = {
    **_family("MaxPool", "The largest of each window of {}.", plain=True),
    **_family("AvgPool", "The mean of each window of {}.", plain=True),
    **_family("LPPool", "The p-norm of each window of {}.", plain=True),
    **_family("AdaptiveMaxPool", "The largest of as many windows of {} as output_size says.", plain=True),
    **_family("AdaptiveAvgPool", "The mean of as many windows of {} as output_size says.", plain=True),
}
_NORMS = {
    "BatchNorm1d": LayerKind(
        "Mean 0 and deviation 1 of each feature over the batch, then a scale and a shift; running ones in evaluation.",
        "num_features", 0, (1, 2), "[features] or [channels, length]",
    ),
    **_family("BatchNorm", "The same of each channel of {} over batch and places.", "num_features", of=(2, 3)),
    **_family("InstanceNorm", "Mean 0 and deviation 1 of each channel of each row of {}.", "num_features"),
    "LayerNorm": LayerKind(
        "Mean 0 and deviation 1 of each row over its last axes, then a scale and a shift.", "normalized_shape"
    ),
    "RMSNorm": LayerKind("Root mean square 1 of each row over its last axes, then a scale.", "normalized_shape"),
    "GroupNorm": LayerKind("Mean 0 and deviation 1 of each row over groups of channels.", "num_channels", 0),
    "LocalResponseNorm": LayerKind("Each channel over the size of its neighbours.", ranks=(2, 3, 4), takes=_ROWS[2]),
}  # fmt: skip
_DROPOUTS = {
    "Dropout": LayerKind("In training each number is 0 with probability p, the others are divided by 1 − p."),
    **_family("Dropout", "In training each channel of {} is 0 with probability p."),
    "AlphaDropout": LayerKind("Dropout that keeps mean and deviation, for SELU."),
    "FeatureAlphaDropout": LayerKind("AlphaDropout of whole channels.", ranks=(2, 3, 4), takes=_ROWS[2]),
}
_RECURRENT = {
    "RNN": LayerKind(
        "h ← tanh(W x + U h + b), step by step: the sequence of h; last: true gives the last one.",
        "input_size", -1, (2,), _STEPS,
    ),
    "GRU": LayerKind(
        "Gated recurrent unit: the sequence of its outputs; last: true gives the last one.",
        "input_size", -1, (2,), _STEPS,
    ),
    "LSTM": LayerKind(
        "Long short-term memory: the sequence of its outputs; last: true gives the last one.",
        "input_size", -1, (2,), _STEPS,
    ),
    "RNNCell": LayerKind("One step of an RNN from h = 0.", "input_size", -1, (1,), "[features]"),
    "GRUCell": LayerKind("One step of a GRU from h = 0.", "input_size", -1, (1,), "[features]"),
    "LSTMCell": LayerKind("One step of an LSTM from h = c = 0: its h.", "input_size", -1, (1,), "[features]"),
}  # fmt: skip
_EMBEDDINGS = {
    "Embedding": LayerKind("A vector of its own for each whole number from 0 to num_embeddings − 1."),
    "EmbeddingBag": LayerKind("The mean of the vectors of a row's whole numbers.", ranks=(1,), takes="[numbers]"),
}
_ATTENTION = {
    "MultiheadAttention": LayerKind("Attention of the steps to each other.", "embed_dim", -1, (2,), _STEPS),
    "TransformerEncoderLayer": LayerKind(
        "Attention of the steps to each other, then two affine layers, each added to its input and normalised.",
        "d_model", -1, (2,), _STEPS,
    ),
}  # fmt: skip
_ACTIVATIONS = _elementwise(
    ReLU="max(0, x).",
    LeakyReLU="x above 0, else negative_slope · x.",
    PReLU="x above 0, else a · x with a learned a.",
    RReLU="x above 0, else a · x with a random a in training, its mean in evaluation.",
    ReLU6="min(max(0, x), 6).",
    ELU="x above 0, else alpha (eˣ − 1).",
    SELU="ELU with the scale that keeps mean 0 and deviation 1.",
    CELU="x above 0, else alpha (exp(x / alpha) − 1).",
    GELU="x Φ(x), Φ the normal distribution.",
    SiLU="x σ(x).",
    Mish="x tanh(ln(1 + eˣ)).",
    Sigmoid="1 / (1 + e⁻ˣ).",
    Hardsigmoid="x / 6 + 1/2, cut to 0 and 1.",
    LogSigmoid="ln(1 / (1 + e⁻ˣ)).",
    Tanh="(eˣ − e⁻ˣ) / (eˣ + e⁻ˣ).",
    Hardtanh="x, cut to min_val and max_val.",
    Tanhshrink="x − tanh(x).",
    Hardswish="x times Hardsigmoid.",
    Softplus="ln(1 + exp(beta · x)) / beta.",
    Softsign="x / (1 + |x|).",
    Softshrink="x moved by lambd towards 0, 0 up to there.",
    Hardshrink="x, 0 up to lambd.",
    Threshold="x above threshold, else value.",
    GLU="The first half times the sigmoid of the second, of an axis cut in two.",
    Softmax="exp(x) / Σ exp(x), over the last axis unless dim says another.",
    Softmin="Softmax of −x.",
    LogSoftmax="ln of Softmax.",
)
_ACTIVATIONS["Softmax2d"] = LayerKind("Softmax over the channels of images.", ranks=(3,), takes=_ROWS[2])

LAYERS: dict[str, LayerKind] = {
    **_AFFINE, **_SHAPES, **_POOLS, **_NORMS, **_DROPOUTS, **_RECURRENT, **_EMBEDDINGS, **_ATTENTION, **_ACTIVATIONS,
}  # fmt: skip
"""By the name of the class, those of a kind side by side."""

RECURRENT = ("RNN", "GRU", "LSTM")
"""The layers that take a sequence of any length, and `last`."""
ATTENTION = tuple(_ATTENTION)
"""The layers that compare each step with each: their work grows with the square of the steps."""
INDEXED = tuple(_EMBEDDINGS)
"""The layers that take whole numbers."""
KEEPING = ("Identity", "Flatten", "Unflatten")
"""The layers that pass numbers on as they are."""
POOLS = tuple(name for name in _POOLS if not name.startswith("LPPool"))
"""The layers whose numbers lie between those that they take."""
SAME_SIZE = (*KEEPING, *_NORMS, *_DROPOUTS, *_ACTIVATIONS)
"""The layers that give no more numbers than they take."""
DROPOUTS = tuple(_DROPOUTS)
_NOT_ELEMENTWISE = ("PReLU", "RReLU", "GLU", "Softmax", "Softmin", "LogSoftmax", "Softmax2d")
ELEMENTWISE = tuple(name for name in _ACTIVATIONS if name not in _NOT_ELEMENTWISE)
"""The activations that look at one number at a time and learn nothing."""
ANY_NUMBER = (*_AFFINE, *_NORMS, *_RECURRENT, *_EMBEDDINGS, *_ATTENTION, RESIDUAL)
"""The layers whose numbers may lie beyond 0 and 1."""

_APART = tuple(name for name in LAYERS if "Dropout" in name or "BatchNorm" in name or name == "RReLU")
_APART_BY = {"dropout": (*RECURRENT, *ATTENTION), "track_running_stats": ("InstanceNorm",)}


def has_two_modes(layer: str, arguments: Mapping[str, Any]) -> bool:
    """Say whether a layer gives other numbers in training than in evaluation.

    >>> has_two_modes("Dropout", {}), has_two_modes("GRU", {}), has_two_modes("GRU", {"dropout": 0.5})
    (True, False, True)
    """
    if layer in _APART or (layer == "TransformerEncoderLayer" and arguments.get("dropout", 0.1)):
        return True
    return any(arguments.get(key) and {layer, layer[:-2]} & {*names} for key, names in _APART_BY.items())


def draws(layer: str, arguments: Mapping[str, Any]) -> bool:
    """Say whether a layer draws numbers in training: dropout, that of recurrent and attention layers too.

    >>> draws("Dropout", {}), draws("BatchNorm1d", {}), draws("GRU", {"dropout": 0.5})
    (True, False, True)
    """
    return has_two_modes(layer, arguments) and layer not in _NORMS


def unmapped(layer: str, arguments: Mapping[str, Any]) -> str:
    """Return why a layer cannot work for several runs at once, one clause; nothing if it can.

    >>> unmapped("Conv2d", {}), unmapped("Dropout", {}), unmapped("GRU", {"dropout": 0.5})
    ('', '', 'GRU draws its dropout inside')
    """
    if layer in ("RReLU", "LSTMCell"):
        return f"torch maps no {layer} over runs"
    if arguments.get("proj_size"):
        return f"torch maps no {layer} with proj_size over runs"
    if not has_two_modes(layer, arguments) or layer in _DROPOUTS or layer.startswith("BatchNorm"):
        return ""
    return f"{layer} {'keeps running means' if layer in _NORMS else 'draws its dropout inside'}"


def may_mix_rows(layer: str, arguments: Mapping[str, Any]) -> bool:
    """Say whether the rows of a batch may come together in evaluation too, so that a row alone has other numbers.

    >>> may_mix_rows("Softmax", {"dim": 1}), may_mix_rows("Softmax", {"dim": 0}), may_mix_rows("BatchNorm1d", {})
    (False, True, False)
    """
    if "BatchNorm" in layer and arguments.get("track_running_stats") is False:
        return True
    axes = [arguments[key] for key in ("dim", "start_dim") if arguments.get(key) is not None]
    return any(axis != -1 and axis < 1 for axis in axes)


_TWO_INPUTS = "It takes two inputs, a sequential model has one"
_LOSS = "It is a loss: gdcli catalog loss"
_LISTS = "A list of layers is one; {residual: [...]} adds its input"

NOT_LAYERS: dict[str, str] = {
    **dict.fromkeys((
        "Bilinear", "CosineSimilarity", "PairwiseDistance", "MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d", "Transformer",
        "TransformerDecoder", "TransformerDecoderLayer",
    ), _TWO_INPUTS),
    **dict.fromkeys(("Sequential", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict", "Container"), _LISTS),
    "TransformerEncoder": "Its layers are one after the other: TransformerEncoderLayer, as often as you want",
    **dict.fromkeys(("FractionalMaxPool2d", "FractionalMaxPool3d"), "It draws its windows at random in evaluation too"),
    "CrossMapLRN2d": "LocalResponseNorm is the same",
    "SyncBatchNorm": "It is for several processes; take BatchNorm2d",
    "DataParallel": "A run has one device",
    **dict.fromkeys(("Module", "RNNBase", "RNNCellBase"), "It is the base of others"),
    "AdaptiveLogSoftmaxWithLoss": _LOSS,
}  # fmt: skip
"""The other classes of torch.nn, and why they are none; besides those that :func:`why_not` knows by their name."""


def why_not(name: str) -> str:
    """Return why a class of torch.nn is no layer of a sequential model, or nothing.

    >>> why_not("LazyLinear")
    'Linear finds its sizes by itself where they are left out'
    """
    if name.startswith("Lazy") and name.removeprefix("Lazy") in LAYERS:
        return f"{name.removeprefix('Lazy')} finds its sizes by itself where they are left out"
    return _LOSS if name.endswith(("Loss", "Loss2d")) else NOT_LAYERS.get(name, "")

"""The texts of `gdcli new`: specs with a comment for each choice, which run as they stand."""

from __future__ import annotations

from dataclasses import dataclass

from gdcli.spec.writing import write

TEMPLATES = ("regression", "classification", "image", "objective", "compare")


@dataclass(frozen=True, slots=True)
class TableParts:
    """What a template says of a table of one's own: its data section, and the sizes of the network."""

    data: str
    features: int  # columns of the model's input, a column for each value of a text
    classes: int  # 0: the target is a number
    rows: int = 160  # to train with


FEW_ROWS = 64
"""Rows below which a step takes all."""

_OWN = """\
  # A table of your own (CSV, TSV, Parquet or NPZ) instead of the rows of generate:
  #   file: table.csv          # from this file's folder on
  #   target: {target:<16} # the column to predict; the others are features, text too
  #   missing: median          # what stands for a missing cell; without it one is an error
  # Or let a spec be made for it: gdcli new --data table.csv --target {target}
"""

VALIDATION = (
    "  validation: 0.2 # this share of the rows is held out, to see how good the model is on rows it has not learned\n"
)
HELD_OUT = f"  standardize: true # features with mean 0 and deviation 1, by the training rows\n{VALIDATION}"
STRATIFY = "  stratify: true # of each class the same share in both parts\n"
"""What becomes of the rows of a table, one's own or made up; the last is for classes."""

_REGRESSION_DATA = (
    _OWN.format(target="price")
    + "  generate: {kind: sine, n: 200, noise: 0.1} # rows made up; others: gdcli catalog data\n"
    + HELD_OUT
)
_CLASSIFICATION_DATA = (
    _OWN.format(target="species")
    + "  generate: {kind: moons, n: 200, noise: 0.15} # rows made up, of two classes; others: gdcli catalog data\n"
    + HELD_OUT
    + STRATIFY
)
_REGRESSION = TableParts(_REGRESSION_DATA, 1, 0)
_CLASSIFICATION = TableParts(_CLASSIFICATION_DATA, 2, 2)

_NETWORK = """\
model:
  type: mlp # layers of neurons; others: gdcli catalog model
  layers: [{features}, 16, {outputs}] # {columns}, hidden neurons, {results}; deeper: [{features}, 16, 16, {outputs}]
  activation: {activation} # after each hidden layer; others: gdcli catalog activation
loss: {loss}; others: gdcli catalog loss
optimizer: {{name: adam, lr: 0.01}} # lr is the learning rate; others: gdcli catalog optimizer
batch: {batch}
epochs: {epochs} # passes over the training rows, at most
"""

_TRAINING = """\
stop: {patience: 20, restore: true} # ends after 20 epochs without a better validation loss; keeps the best weights
seed: 0 # of the start values, the split and the order of the rows
print: {style: epoch} # a line per epoch; others: gdcli catalog style
"""

_IMAGE = """\
data:
  dataset: digits # 1,797 images of 8 x 8 pixels; it needs scikit-learn: pip install "gradient-descent-cli[datasets]"
  # Images of your own, in IDX files as MNIST has them, instead of dataset:
  #   idx: {images: train-images-idx3-ubyte.gz, labels: train-labels-idx1-ubyte.gz}
  shape: [1, 8, 8] # channels, height and width of an image: [1, 28, 28] for MNIST
  validation: 0.2 # this share of the images is held out
  stratify: true # of each class the same share in both parts
model:
  type: sequential # layers of torch, one after the other: gdcli catalog layer; sizes of inputs are found
  layers: # gdcli validate FILE --summary prints what each gives
    - {layer: Conv2d, out_channels: 8, kernel_size: 3, padding: 1}
    - ReLU
    - {layer: MaxPool2d, kernel_size: 2}
    - {layer: Conv2d, out_channels: 16, kernel_size: 3, padding: 1}
    - ReLU
    - {layer: MaxPool2d, kernel_size: 2}
    - Flatten
    - {layer: Linear, out_features: 10} # as many as there are classes
loss: cross_entropy # of classes; others: gdcli catalog loss
optimizer: {name: adam, lr: 0.005} # lr is the learning rate; others: gdcli catalog optimizer
batch: {mode: mini-batch, size: 32} # images of a step
epochs: 10 # passes over the training images
metrics: [accuracy, confusion] # the second is drawn by: gdcli plot last --kind confusion
seed: 0 # of the start values, the split and the order of the images
print: {style: epoch} # a line per epoch
"""

_OBJECTIVE = """\
model:
  type: objective # a function to minimise; no data
  expression: "(x - a)**2 + 2*(y + 1)**2 + x*y" # + - * / **, and sin, cos, exp, log, sqrt, ...
  constants: {a: 3} # names that stay as they are
  start: {x: 0, y: 0} # where the descent begins; each name here is a variable
optimizer: {name: sgd, lr: 0.1} # lr is the learning rate; others: gdcli catalog optimizer
epochs: 100 # steps, at most
stop: {gradient_norm: 1e-6} # ends once the gradient is this short
dtype: float64 # twice the digits of float32
print: {style: trace} # the variables after each step
"""

_COMPARE = """\
compare: # each row is an optimizer, with the same data and start values
  optimizers: # a label, and the settings that differ; the label is the optimizer's name where there is none
    sgd: {lr: 0.1}
    momentum: {name: sgd, momentum: 0.9, lr: 0.05}
    adam: {lr: 0.01}
  seeds: 3 # runs of each row, with other start values; the table has the mean and its interval
  # tune: 9                  # this many learning rates are tried for each row first, the best is taken
"""

_ABOUT = {
    "regression": ("A network that predicts a number from a table.", "run"),
    "classification": ("A network that predicts a class from a table.", "run"),
    "image": ("A convolutional network that tells what an image shows.", "run"),
    "objective": ("Gradient descent on a function that is written out.", "run"),
    "compare": ("Several optimizers side by side, on the same data and start values.", "compare"),
}
COMMANDS = {name: command for name, (_, command) in _ABOUT.items()}
"""The command that a template is for."""


def written(template: str, name: str, file: str, schema: str, table: TableParts | None = None) -> str:
    """Return the text of a spec: of a table of one's own, or else of rows that are made up."""
    what, command = _ABOUT[template]
    head = (
        f"# yaml-language-server: $schema={schema}\n# {what}\n# gdcli {command} {file}\n"
        f"{write({'name': name}).rstrip()} # of the folder of its records: runs/{name}/...\n"
        f"description: {what.rstrip('.')}\n"
    )
    if template == "image":
        return head + _IMAGE
    if template == "objective":
        return head + _OBJECTIVE
    parts = table or (_REGRESSION if template == "regression" else _CLASSIFICATION)
    body = f"{head}data:\n{parts.data}{_network(parts, 30 if template == 'compare' else 200)}"
    if template != "compare":
        return body + _TRAINING
    kept = "".join(line for line in _TRAINING.splitlines(keepends=True) if not line.startswith("stop:"))
    return body + kept + _COMPARE


def _network(parts: TableParts, epochs: int) -> str:
    return _NETWORK.format(
        features=parts.features,
        outputs=parts.classes or 1,
        columns="feature" if parts.features == 1 else "features",
        results="classes" if parts.classes else "output",
        activation="relu" if parts.classes else "tanh",
        loss="cross_entropy # of classes" if parts.classes else "mse # mean squared error, of numbers",
        batch="{mode: mini-batch, size: 32} # rows of a step; batch: full takes all"
        if parts.rows >= FEW_ROWS
        else "full # all rows a step; of more rows: {mode: mini-batch, size: 32}",
        epochs=epochs,
    )

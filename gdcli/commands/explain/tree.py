"""What an explanation is: sections of groups of quantities, as frozen data that the formats write out; and names.

Names are as a textbook has them: x1, h1, o1, w1 .. wN, b1, and the row of the data where there are several.
Inputs are x1, x2, ..; the neurons of a hidden layer h1, h2, .., of several hidden layers h1_1, h1_2, .. (layer, then
neuron); outputs o1, ..; targets t1, ... The weighted sum of a neuron is net_h1. Weights are numbered through the whole
model, layer by layer and row by row; so are the biases, one for a layer that shares it, else one for each neuron. In a
batch of several rows a value also names its row: h1[3] belongs to row 3 of the data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gdcli.commands.explain.expression import Expression, Label


@dataclass(frozen=True, slots=True)
class Quantity:
    """One named value and how it comes about.

    ``chain`` names its local derivatives (dL/do1 · do1/dnet_o1), ``formula`` is the same in symbols; ``worked`` has the
    numbers, ``note`` says which case of a rule applies. ``key`` is what ``--only`` takes, ``title`` what it prints.
    """

    key: str
    name: Label
    formula: Expression
    worked: Expression
    chain: Expression | None = None
    note: str = ""
    title: str = ""
    blank: Label | None = None  # what stands in place of its value

    @property
    def value(self) -> float:
        """The value, of the numbers in the order in which they are written."""
        return self.worked.value

    @property
    def symbol(self) -> Expression:
        """The quantity as a symbol in other formulas."""
        return Expression("symbol", self.value, (), self.name)


def quantity(name: Label, formula: Expression, note: str = "", *, key: str = "", title: str = "") -> Quantity:
    """Return a quantity whose numbers are those of its formula's symbols; its key is its name unless given."""
    return Quantity(key or name.text, name, formula, formula, None, note, title)


@dataclass(frozen=True, slots=True)
class WorkedTable:
    """A small table: cells are text."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, values: Mapping[str, tuple[str, float]]) -> WorkedTable:
        """Return the table of what is given: by name, what it is and its value."""
        return cls(("name", "parameter", "value"), tuple((k, name, repr(value)) for k, (name, value) in values.items()))


@dataclass(frozen=True, slots=True)
class Group:
    """Quantities that belong together, with a heading, sentences and a table as there is need."""

    quantities: tuple[Quantity, ...] = ()
    title: str = ""
    notes: tuple[str, ...] = ()
    table: WorkedTable | None = None


@dataclass(frozen=True, slots=True)
class ExplanationSection:
    """One part of an explanation: Forward, Loss, Backward, Update."""

    title: str
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """A worked step: its name, what it is about, and its sections."""

    title: str
    description: str
    sections: tuple[ExplanationSection, ...]

    def quantities(self) -> Iterator[Quantity]:
        """Walk all quantities in the order in which they are printed."""
        for section in self.sections:
            for group in section.groups:
                yield from group.quantities


# --- names ------------------------------------------------------------------------------------------------------------

LOSS = Label("L", "L")


def partial(above: Label, below: Label) -> Label:
    """Return the name of a derivative, dL/dw5."""
    return Label(f"d{above.text}/d{below.text}", rf"\dfrac{{\partial {above.latex}}}{{\partial {below.latex}}}")


def primed(label: Label) -> Label:
    """Return the name of a value after the step, w5′."""
    return Label(f"{label.text}′", f"{label.latex}'")


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one model's neurons: ``layers`` counts its layers, ``rows`` are the batch's rows, from 1."""

    layers: int
    rows: tuple[int, ...]

    def of(self, letter: str, j: int, b: int | None, layer: int | None = None) -> Label:
        """Return a letter with its number from 1, its layer and its row: x1, or x1[row]; t1, or t1[row]."""
        index = f"{j + 1}" if layer is None else f"{layer + 1}_{j + 1}"
        latex = f"{letter}_{{{index.replace('_', ',')}}}"
        if b is None or len(self.rows) < 2:
            return Label(f"{letter}{index}", latex)
        return Label(f"{letter}{index}[{self.rows[b]}]", f"{latex}^{{({self.rows[b]})}}")

    def neuron(self, layer: int, b: int, j: int) -> Label:
        """Return the name of a neuron's output: o1 in the last layer, else h1, or h1_1 of several hidden layers."""
        if layer == self.layers - 1:
            return self.of("o", j, b)
        return self.of("h", j, b, layer if self.layers > 2 else None)

    def net(self, layer: int, b: int, j: int) -> Label:
        """Return the name of a neuron's weighted sum, net_h1."""
        neuron = self.neuron(layer, b, j)
        head, mark, row = neuron.latex.partition("^")
        return Label(f"net_{neuron.text}", rf"\mathrm{{net}}_{{{head}}}{mark}{row}")

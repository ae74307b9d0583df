"""The whole explanation of one step of a spec, and single quantities of it by name."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from functools import partial as bound
from itertools import chain
from math import prod

import numpy as np

from gdcli.commands.explain import losses, updates
from gdcli.commands.explain.activations import ELEMENTWISE, LAYERWISE
from gdcli.commands.explain.network import Pass, Thunk, WorkedScalar
from gdcli.commands.explain.objective import WorkedFunction
from gdcli.commands.explain.point import EvaluationPoint, point_of, points_of, trained_before
from gdcli.commands.explain.shaping import clip_of
from gdcli.commands.explain.tree import Explanation, ExplanationSection, Group, Quantity, WorkedTable, partial, quantity
from gdcli.errors import Problem, SpecError, nearest
from gdcli.spec.load import Loaded
from gdcli.spec.models import match
from gdcli.spec.preconditions import are_log_probabilities
from gdcli.spec.watch import WatchedValue, values_of
from gdcli.zoo.models import Chain, Objective, Stack

MAX_SCALARS = 200
"""Parameters up to which a whole explanation is written."""
MAX_LINES = 2_000
"""Parameters or neurons, times rows, up to which it is."""
MAX_ROWS = 20
"""Rows of a batch that are listed where another one is asked for."""
MAX_PRODUCTS = 10**6
"""Multiply-adds of one forward pass up to which single quantities are worked out."""


def explain(loaded: Loaded, step: int = 1) -> Explanation:
    """Return the worked step-th step of a spec: forward, loss, backward, update.

    Raises SpecError for a model of torch's own layers, for one too large to read, and for a step that is not there.
    """
    _possible(loaded)
    _readable(loaded)
    point = point_of(loaded, step)
    given, *sections = subject_of(loaded, point).sections()
    if note := trained_before(loaded, step):
        given = replace(given, groups=(Group(notes=(note,)), *given.groups))
    return Explanation(_heading(loaded, point), loaded.spec.settings.description or "", (given, *sections))


def quantities(loaded: Loaded, names: Sequence[str], step: int = 1) -> list[Quantity]:
    """Return single quantities by name, of a model of any size: h1, o2, loss, dw5, db1, dh1, net_h1, new_w5.

    The derivative at a frozen parameter says that it is frozen. Raises SpecError for names that the model has not.
    """
    _possible(loaded)
    found = _worked(loaded, point_of(loaded, step))
    unknown = [name for name in names if name not in found.thunks]
    if unknown:
        raise SpecError("\n".join(f"--only: {_hint(name, found.thunks, found.frozen)}" for name in unknown))
    return [found.of(name) for name in names]


def stepped(loaded: Loaded, steps: Collection[int]) -> Iterator[WorkedQuantities]:
    """Yield what :func:`quantities` gives of each of some steps, by name, worked out when asked for; trained once.

    Raises as it does.
    """
    _possible(loaded)
    for point in points_of(loaded, steps):
        yield _worked(loaded, point)


@dataclass(frozen=True, slots=True)
class WorkedQuantities:
    """All quantities of a step by name: ``of`` works one out; names of frozen parameters say so."""

    point: EvaluationPoint
    thunks: Mapping[str, Thunk]
    frozen: Mapping[str, str]

    def of(self, name: str) -> Quantity:
        """Return a quantity as `--only` gives it."""
        return _told(self.thunks[name](), self.frozen.get(name.removeprefix("d"), ""))


def _worked(loaded: Loaded, point: EvaluationPoint) -> WorkedQuantities:
    subject = subject_of(loaded, point)
    return WorkedQuantities(point, subject.thunks(), _frozen(loaded, subject.scalars()))


def _frozen(loaded: Loaded, scalars: Iterable[WorkedScalar]) -> dict[str, str]:
    """Return the parameters of the frozen scalars by the scalars' names."""
    frozen = {name for pattern in loaded.spec.model.freeze for name in match(pattern, loaded.shapes or {})}
    return {one.symbol.name.text: one.parameter for one in scalars if one.parameter in frozen}


def _told(found: Quantity, parameter: str) -> Quantity:
    if not parameter:
        return found
    return replace(found, title=f"{found.key} ({parameter} is frozen)", note=f"{parameter} is frozen")


_ROW = re.compile(r"\[(\d+)\]")


def _hint(name: str, known: Mapping[str, Thunk], frozen: Mapping[str, str]) -> str:
    """Return why there is no such name, and the nearest; of a value that each row has, the one of the first row."""
    there = f"there is no '{name}' here"
    if parameter := frozen.get(name.removeprefix("new_")):
        return f"{there}: {parameter} is frozen"
    named: dict[str, list[str]] = {}  # of every row, by the name without
    for one in known:
        named.setdefault(_ROW.sub("", one), []).append(one)
    bare = _ROW.sub("", name)
    found = named.get(bare) or named.get(re.sub(r"h(?=\d+$)", "h1_", bare))  # of several hidden layers the first
    if found is None:
        near = get_close_matches(bare, named, n=1)
        firsts = [each[0] for each in named.values()]
        return f"{there}. " + (f"Did you mean '{named[near[0]][0]}'?" if near else nearest(name, firsts))
    rows = [number[1] for one in found if (number := _ROW.search(one))]
    if not rows or bare == name:
        return f"{there}. " + (f"Each row has its own: '{found[0]}'" if rows else f"Did you mean '{found[0]}'?")
    listed = ", ".join(rows[:MAX_ROWS]) + (", ..." if len(rows) > MAX_ROWS else "")
    return f"{there}. Did you mean '{found[0]}'? The batch has the rows {listed}"


def subject_of(loaded: Loaded, point: EvaluationPoint) -> Network | WorkedFunction:
    """Return the passes of a spec at a point: of its network, or through its objective."""
    return WorkedFunction(loaded, point) if isinstance(loaded.architecture, Objective) else Network(loaded, point)


def _possible(loaded: Loaded) -> None:
    model, spec = loaded.architecture, loaded.spec
    if isinstance(model, Stack):
        what = "a sequential model's own layers cannot be written out by hand"
        if model.own is not None:
            what = f"the plugin's module {model.own.name} cannot be written out by hand"
        raise SpecError(spec.problem(("model",), what, "Explain takes linear, mlp, identity and objective"))
    if isinstance(model, Chain):
        products = _rows(loaded) * sum(layer.inputs * layer.outputs for layer in model.layers)
        if products > MAX_PRODUCTS:
            what = f"one step has {products:,} products, more than {MAX_PRODUCTS:,}"
            raise SpecError(f"{what} that can be written out. Take fewer rows: batch=stochastic")
    if problems := list(_not_written_out(loaded)):
        raise SpecError(problems)


def _not_written_out(loaded: Loaded) -> Iterator[Problem]:
    """Yield the ingredients whose equations this version does not have, whatever the tables of the zoo hold."""
    model, spec = loaded.architecture, loaded.spec
    used: list[tuple[str, str, Collection[str]]] = []
    if spec.optimizer is not None and spec.settings.epochs > 0:
        used.append(("optimizer", spec.optimizer.name, updates.RULES))
    if spec.loss is not None:
        used.append(("loss", spec.loss.name, losses.TITLES))
    if isinstance(model, Chain):
        known = {"none", *ELEMENTWISE, *LAYERWISE}
        used += [("activation", name, known) for name in dict.fromkeys(layer.activation for layer in model.layers)]
    for kind, name, written in used:
        if name not in written:
            path = ("model", "activation") if kind == "activation" else (kind,)
            yield spec.problem(
                path, f"the {kind} {name} is not written out", f"Explain has {', '.join(sorted(written))}"
            )


def _rows(loaded: Loaded) -> int:
    """Return the rows of a step; without training all of them."""
    trained = loaded.spec.settings.epochs > 0
    return loaded.spec.batch.rows(loaded.samples) if trained else loaded.samples


def _readable(loaded: Loaded) -> None:
    model = loaded.architecture
    assert not isinstance(model, Stack)
    scalars, rows = sum(map(prod, (loaded.shapes or {}).values())), _rows(loaded)
    named = "Name what you want to see: --only loss,dw1"
    if scalars > MAX_SCALARS:
        what = f"the model has {scalars:,} parameters, more than the {MAX_SCALARS} of a readable text"
        raise SpecError(f"{what}. {named}")
    neurons = sum(layer.outputs for layer in model.layers) if isinstance(model, Chain) else 0
    if max(scalars, neurons, 1) * rows > MAX_LINES:
        raise SpecError(f"a batch of {rows:,} rows is too long a text. {named}; or take fewer rows: batch=stochastic")


def _heading(loaded: Loaded, point: EvaluationPoint) -> str:
    spec = loaded.spec
    if not point.rules:
        return f"{spec.name}: one forward and backward pass"
    if loaded.samples == 0 or spec.batch.steps(loaded.samples) == 1:
        return f"{spec.name}: step {point.step}"
    epoch, batch = divmod(point.step - 1, spec.batch.steps(loaded.samples))
    return f"{spec.name}: step {point.step} (epoch {epoch + 1}, batch {batch + 1})"


def _itself(one: Quantity) -> Quantity:
    return one


# --- networks ---------------------------------------------------------------------------------------------------------


class Network:
    """A chain of layers on one batch."""

    def __init__(self, loaded: Loaded, point: EvaluationPoint) -> None:
        self.loaded, self.point, self.work = loaded, point, Pass(loaded, point)
        self.layers, self.names = self.work.layers, self.work.names
        self.clip = clip_of(loaded.spec.clip, lambda: updates.gradients_of(point.rules, self.scalars()))

    def scalars(self) -> Iterator[WorkedScalar]:
        """Yield the scalars of all parameters, in the model's order."""
        return chain.from_iterable(map(self.work.scalars, range(len(self.layers))))

    # --- by name ---

    def thunks(self) -> dict[str, Thunk]:
        """Return every quantity of the pass by name, to be worked out when called."""
        work, found = self.work, {"loss": lambda: self.work.loss.value}
        if work.penalized:
            found |= {"data_loss": lambda: work.loss.parts[0], "penalty": lambda: work.loss.parts[1]}
        if self.clip is not None and self.clip.by_norm is not None:
            found |= {one.key: bound(_itself, one) for one in self.clip.by_norm}
        for b in work.rows:
            for k, layer in enumerate(self.layers):
                for j in range(layer.affine.outputs):
                    found |= self._of_neuron(k, b, j)
            for i in range(len(work.data[b]) if self.layers else 0):
                found[f"d{self.names.of('x', i, b).text}"] = bound(work.at_output, -1, b, i)
        for b, targets in enumerate(work.targets):
            for j in range(len(targets)):
                found |= self._of_loss(b, j)
        if self._compares:
            logarithms = work.loss_spec.name == "nll"
            for b, row in enumerate(self.names.rows):
                p = [self.names.of("p", j, b).text for j in range(len(work.targets[b]) if logarithms else 0)]
                found |= {key: bound(self._compared, key) for key in (f"S{row}", f"H{row}", *p)}
        for scalar in self.scalars():
            name = scalar.symbol.name
            found[f"d{name.text}"] = scalar.gradient
            found[name.text] = bound(quantity, name, scalar.symbol)
            if scalar.parameter in self.point.rules:
                found[f"new_{name.text}"] = bound(self._new, scalar)
        return found

    def _of_neuron(self, k: int, b: int, j: int) -> dict[str, Thunk]:
        work, neuron, net = self.work, self.names.neuron(k, b, j), self.work.net_name(k, b, j)
        found: dict[str, Thunk] = {
            net.text: lambda: work.net(k, b, j),
            f"d{net.text}": lambda: work.at_net(k, b, j),
            f"d{neuron.text}": lambda: work.at_output(k, b, j),
        }
        if net != neuron:
            found[neuron.text] = lambda: work.output(k, b, j)
            found[partial(neuron, net).text] = lambda: work.local(k, b, j, j)
        return found

    def _of_loss(self, b: int, j: int) -> dict[str, Thunk]:
        """Return what the loss has of an output: its probability, and its derivative where no layer has it."""
        work, found = self.work, dict[str, Thunk]()
        if work.loss_spec.name == "cross_entropy":
            found[self.names.of("p", j, b).text] = lambda: work.loss.before[b * len(work.targets[b]) + j]
        if not self.layers:
            found[f"d{self.names.of('o', j, b).text}"] = lambda: work.loss.slopes[b, j]
        return found

    @property
    def _compares(self) -> bool:
        """Whether the outputs are scores of classes, or the logarithms of their probabilities."""
        work, name = self.work, self.work.loss_spec.name
        if work.classes is None or name not in ("cross_entropy", "nll"):
            return False
        if name == "cross_entropy" or self.layers:
            return name == "cross_entropy" or self.layers[-1].affine.activation == "log_softmax"
        return bool(np.all(are_log_probabilities(np.array([[one.value for one in row] for row in work.data]))))

    @cached_property
    def _comparison(self) -> ExplanationSection:
        work = self.work
        assert work.classes is not None
        return losses.comparison(self.names, work.outputs, work.loss, work.classes)

    def _compared(self, key: str) -> Quantity:
        return next(one for group in self._comparison.groups for one in group.quantities if one.key == key)

    def _new(self, scalar: WorkedScalar) -> Quantity:
        (found,) = updates.updated(self.point.rules, [scalar], self.clip)
        return found.new

    # --- sections ---

    def sections(self) -> list[ExplanationSection]:
        """Return the whole."""
        sections = [self._given(), *self._forward(), self._loss(), self._backward(), *self._watched()]
        sections += updates.update_section(self.point, self.scalars(), self.clip)
        return [*sections, self._comparison] if self._compares else sections

    def _given(self) -> ExplanationSection:
        named = {scalar.symbol.name.text: (scalar.entry, scalar.symbol.value) for scalar in self.scalars()}
        groups = [Group((), "", (), WorkedTable.of(named))] if named else []
        classes = "Classes count from 0, outputs from 1: t is 1 for the output of the row's class, else 0."
        groups.append(Group((), "", () if self.work.classes is None else (classes,), self._data()))
        return ExplanationSection("Given", tuple(groups))

    def _data(self) -> WorkedTable:
        data, targets, letter = self.work.data, self.work.targets, "x" if self.layers else "o"
        header = [f"{letter}{i + 1}" for i in range(len(data[0]))] + [f"t{j + 1}" for j in range(len(targets[0]))]
        rows = tuple(
            (str(row), *(repr(one.value) for one in (*data[b], *targets[b]))) for b, row in enumerate(self.names.rows)
        )
        return WorkedTable(("row", *header), rows)

    def _forward(self) -> list[ExplanationSection]:
        if not self.layers:
            return []
        titles = [f"Row {row}" for row in self.names.rows] if len(self.names.rows) > 1 else [""]
        groups = (Group(tuple(self._of_row(b)), title) for b, title in enumerate(titles))
        return [ExplanationSection("Forward", tuple(groups))]

    def _of_row(self, b: int) -> Iterator[Quantity]:
        for k, layer in enumerate(self.layers):
            for j in range(layer.affine.outputs):
                yield self.work.net(k, b, j)
                if layer.affine.activation != "none":
                    yield self.work.output(k, b, j)

    def _loss(self) -> ExplanationSection:
        loss = self.work.loss
        note = "p is the softmax of the row's outputs."
        if any(one.name.text.startswith("q") for one in loss.before):
            note = f"{note[:-1]}, q its targets, smoothed by ε and times the weights ω of the classes; W is their sum."
        before = [Group(loss.before, "", (note,))] if loss.before else []
        counts = {"N": "all outputs of the batch", "B": "the rows of the batch"}
        notes = tuple(
            f"{one.label.text} = {one.value}: {counts[one.label.text]}."
            for one in (*loss.parts, loss.value)[0].formula.operands
            if one.label is not None and one.label.text in counts
        )
        return ExplanationSection("Loss", (*before, Group((*loss.parts, loss.value), "", notes)))

    def _backward(self) -> ExplanationSection:
        if not self.layers:
            return ExplanationSection("Backward", (Group(tuple(self.work.loss.slopes.values())),))
        groups: list[Group] = []
        for k in reversed(range(len(self.layers))):
            local = tuple(found for b in self.work.rows for found in self._local_derivatives(k, b))
            name = "Output layer" if k == len(self.layers) - 1 else "Hidden layer"
            name += f" {k + 1}" if name[0] == "H" and len(self.layers) > 2 else ""
            groups += [Group(local, f"{name}, local derivatives")] if local else []
            groups.append(Group(tuple(one.gradient() for one in self.work.scalars(k)), f"{name}, parameters"))
        return ExplanationSection("Backward", tuple(groups))

    def _watched(self) -> list[ExplanationSection]:
        """Return the derivatives at the values that the spec watches."""
        groups = [Group(tuple(self._at(value)), value.name) for value in values_of(self.loaded)]
        return [ExplanationSection("Watched values", tuple(groups))] if groups else []

    def _at(self, value: WatchedValue) -> Iterator[Quantity]:
        assert isinstance(value.place, tuple)
        k, is_net = value.place
        found = self.work.at_net if is_net else self.work.at_output
        for b in self.work.rows:
            for j in range(value.shape[0]) if value.unit is None else [value.unit]:
                yield found(k - 1, b, j)

    def _local_derivatives(self, k: int, b: int) -> Iterator[Quantity]:
        work, neurons = self.work, range(self.layers[k].affine.outputs)
        if k == len(self.layers) - 1 or not work.written_out:
            yield from (work.at_output(k, b, j) for j in neurons)
        for j in neurons:
            reached = work.reached(k, j)
            yield from (work.local(k, b, i, j) for i in reached)
            if reached and not work.written_out:
                yield work.at_net(k, b, j)

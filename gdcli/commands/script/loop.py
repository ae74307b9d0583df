"""The loop of a script: the batches of each epoch, a step, what is worked out and decided after an epoch."""

from __future__ import annotations

from collections.abc import Iterator

from gdcli.commands.script import printing
from gdcli.commands.script.layout import Brackets, indented, layout
from gdcli.commands.script.model import accessed
from gdcli.commands.script.rules import optimizers, scheduled, scheduler_name, warmup_name
from gdcli.commands.script.subject import ScriptSubject, is_followed
from gdcli.spec.models import is_weight
from gdcli.spec.sections import Ingredient


def loop_blocks(subject: ScriptSubject) -> Iterator[list[str]]:
    """Yield the blocks from the functions of a step to the last line that is printed."""
    yield printing.definitions(subject)
    if subject.spec.penalty.is_on:
        yield _weights(subject)
        yield _penalty(subject)
    if subject.accumulates:
        yield _mean_loss(subject)
        yield _accumulated(subject)
    yield printing.before_training(subject)
    yield _training(subject)
    yield printing.at_the_end(subject, _whole_loss(subject))


# --- a step -----------------------------------------------------------------------------------------------------------


def _output(subject: ScriptSubject, x: str) -> str:
    return f"model({x})" if subject.has_model else x


def _loss(subject: ScriptSubject, x: str, y: str) -> str:
    if subject.is_objective:
        return "objective(**parameters)"
    return f"criterion({_output(subject, x)}, {y})"


def _whole_loss(subject: ScriptSubject, suffix: str = "") -> str:
    """Return the expression of the loss of all rows, of training rows with the penalty."""
    x, y = f"x{suffix}", f"y{suffix}"
    loss = f"mean_loss({x}, {y})" if subject.accumulates else _loss(subject, x, y)
    return f"{loss} + penalty()" if subject.spec.penalty.is_on and not suffix else loss


def _step(subject: ScriptSubject, rows: str) -> list[str]:
    """Return the lines of a step on some rows; ``rows`` is empty for all of them."""
    x, y = (f"x[{rows}]", f"y[{rows}]") if rows else ("x", "y")
    of = [name for name, _ in optimizers(subject)] if subject.epochs else []
    lines = []
    if subject.accumulates:
        lines += [f"loss = accumulated({rows or 'torch.arange(len(x))'})"]
    else:
        if subject.spec.style == "backprop":
            lines += [f"output = {_output(subject, x)}", f"loss = criterion(output, {y})"]
        else:
            lines += [f"loss = {_loss(subject, x, y)}"]
        if subject.trained:
            lines += [*(f"{name}.zero_grad()" for name in of), "loss.backward()"]
    lines += _penalized(subject)
    lines += printing.after_gradient(subject, rows or ":")
    if subject.spec.stop.gradient_norm is not None and subject.whole_loss and subject.epochs:
        lines += _norm(subject)
    lines += _clipped(subject)
    lines += [f"{name}.step()" for name in of]
    if subject.epochs:
        lines += [
            f"{scheduler_name(name)}.step()" for name, schedule in scheduled(subject) if schedule.name == "one_cycle"
        ]
    return lines + printing.after_update(subject)


def _gradients(subject: ScriptSubject) -> str:
    if subject.is_objective:
        names = [accessed(name, subject) for name in subject.trained]
        return "parameters.values()" if len(names) == len(subject.shapes) else f"[{', '.join(names)}]"
    return "model.parameters()"


def _norm(subject: ScriptSubject) -> list[str]:
    frozen = " if p.grad is not None" if len(subject.trained) < len(subject.shapes) else ""
    return [f"norm = torch.cat([p.grad.flatten() for p in {_gradients(subject)}{frozen}]).norm()"]


def _clipped(subject: ScriptSubject) -> list[str]:
    clip = subject.spec.clip
    if not subject.epochs or not clip.is_on:
        return []
    function, bound = ("norm", clip.norm) if clip.norm is not None else ("value", clip.value)
    return [f"torch.nn.utils.clip_grad_{function}_({_gradients(subject)}, {bound!r})"]


# --- penalty ----------------------------------------------------------------------------------------------------------


def _weights(subject: ScriptSubject) -> list[str]:
    names = [accessed(name, subject) for name in subject.trained if is_weight(subject.shapes[name])]
    return layout("weights = ", Brackets("[", tuple(names), "]"))


def _penalty(subject: ScriptSubject) -> list[str]:
    given, terms, told = subject.spec.penalty, [], []
    for factor, size, text in ((given.l1, "abs", "Σ|w|"), (given.l2, "square", "Σw²")):
        if factor:
            terms += [f"{factor!r} * torch.stack([weight.{size}().sum() for weight in weights]).sum(0)"]
            told += [f"{factor!r} {text}"]
    return [
        "def penalty():",
        f'    """Return {" + ".join(told)} over the weights."""',
        *(f"    {'return ' if k == len(terms) - 1 else 'found = '}{term}" for k, term in enumerate(terms[:1])),
        *([f"    return found + {terms[1]}"] if len(terms) > 1 else []),
    ]


def _penalized(subject: ScriptSubject) -> list[str]:
    """Return the lines that add the penalty to the loss and its derivative, 2 λ₂ w + λ₁ sign(w), to the gradient."""
    given = subject.spec.penalty
    if not given.is_on:
        return []
    parts = []
    if given.l2:
        parts += [f"weight.grad.add_(weight, alpha={2 * given.l2!r})"]
    if given.l1:
        parts += [f"weight.grad.add_(weight.sign(), alpha={given.l1!r})"]
    return [
        "with torch.no_grad():",
        "    for weight in weights:",
        *indented(parts, 2),
        "    loss += penalty()",
    ]


# --- steps in several passes ------------------------------------------------------------------------------------------


def _passes(subject: ScriptSubject) -> int:
    return subject.spec.batch.pass_rows(subject.loaded.samples)


def _share(subject: ScriptSubject, of: str) -> str:
    loss = subject.spec.loss
    assert loss is not None
    return "1.0" if loss.name in ("sse", "half_sse") else f"len(part) / len({of})"


def _mean_loss(subject: ScriptSubject) -> list[str]:
    loss = f"criterion({_output(subject, 'x[part]')}, y[part])"
    return [
        "def mean_loss(x, y):",
        f'    """Return the loss of all rows, {_passes(subject)} at a time."""',
        f"    parts = torch.arange(len(x)).split({_passes(subject)})",
        f"    losses = [{loss} * ({_share(subject, 'x')}) for part in parts]",
        "    return torch.stack(losses).sum(0)",
    ]


def _accumulated(subject: ScriptSubject) -> list[str]:
    names = tuple(accessed(name, subject) for name in subject.trained)
    all_of_them = len(names) == len(subject.shapes)
    trained = layout("trained = ", "list(model.parameters())" if all_of_them else Brackets("[", names, "]"))
    return [
        "def accumulated(rows):",
        f'    """Set the gradient of all rows, {_passes(subject)} at a time, and return their loss."""',
        *indented(trained),
        "    losses, total = [], []",
        f"    for part in rows.split({_passes(subject)}):",
        f"        loss, share = {_loss(subject, 'x[part]', 'y[part]')}, {_share(subject, 'rows')}",
        "        gradients = [gradient * share for gradient in torch.autograd.grad(loss, trained)]",
        "        total = [a + b for a, b in zip(total, gradients, strict=True)] if total else gradients",
        "        losses.append(loss.detach() * share)",
        "    for parameter, gradient in zip(trained, total, strict=True):",
        "        parameter.grad = gradient",
        "    return torch.stack(losses).sum(0)",
    ]


# --- epochs -----------------------------------------------------------------------------------------------------------


def _training(subject: ScriptSubject) -> list[str]:
    """Return the loop over the epochs, or the one step alone."""
    if not subject.epochs:
        return _evaluated_alone(subject)
    epochs, rest = _epochs(subject)
    before, stop = [], subject.spec.stop
    if subject.shuffles:
        before += [f"shuffle = np.random.default_rng([{subject.spec.settings.seed}, 3])  # draws each epoch's order"]
    if stop.patience is not None:
        before += ["best, stale = math.inf, 0  # the lowest loss so far, and the epochs without a lower one"]
    before += ["step = 0"] if rest else []
    inner = [*_batches(subject, rest), *_after_epoch(subject)]
    if epochs == 1 and subject.takes_all and not any("break" in line or "epoch" in line for line in inner):
        return [*before, *inner]
    first = 0 if subject.spec.style in printing.COUNTED_FROM_0 else 1
    counted = f"range({epochs})" if first == 0 else f"range(1, {epochs + 1})"
    name = "epoch" if any("epoch" in line for line in inner) else "_"
    counted = f"range({epochs})" if name == "_" else counted
    ends = not rest or epochs > 1  # an epoch, after which there are best weights
    after = ["model.load_state_dict(best_weights)  # of the best epoch"] if stop.restore and ends else []
    return [*before, f"for {name} in {counted}:", *indented(inner), *after]


def _epochs(subject: ScriptSubject) -> tuple[int, int]:
    """Return the epochs at most, and the step at which to stop within one; 0 for none."""
    most, per_epoch = subject.spec.stop.max_steps, subject.per_epoch
    if most is None or most >= subject.epochs * per_epoch:
        return subject.epochs, 0
    return -(-most // per_epoch), most if most % per_epoch else 0


def _evaluated_alone(subject: ScriptSubject) -> list[str]:
    """Return one forward and backward pass, no update; a style that prints the loss at the end needs none."""
    style = subject.spec.style
    if style in ("loss", "parameters"):
        in_training = subject.has_buffers and subject.has_two_modes
        return ["model(x)  # in training mode: its means and variances take these rows in"] if in_training else []
    ends = printing.after_epoch(subject) if style in ("tensor", "trace") else []
    first = ["epoch = 0"] if any("epoch" in line for line in ends) else []
    return [*first, *_step(subject, ""), *ends] if style != "trace" else [*first, *ends]


def _batches(subject: ScriptSubject, rest: int) -> list[str]:
    step = _step(subject, "" if subject.takes_all else "rows")
    if subject.takes_all:
        return step
    order = "torch.from_numpy(shuffle.permutation(len(x)))" if subject.shuffles else "torch.arange(len(x))"
    lines = [f"order = {order}"]
    if subject.spec.batch.drop_last and subject.loaded.samples % subject.rows:
        lines += [f"order = order[:{subject.per_epoch * subject.rows}]  # the rest makes no whole batch"]
    stop = ["step += 1", f"if step == {rest}:", "    break"] if rest else []
    lines += [f"for rows in order.split({subject.rows}):", *indented([*step, *stop])]
    return lines + ([f"if step == {rest}:", "    break"] if rest else [])


def _after_epoch(subject: ScriptSubject) -> list[str]:
    """Return what is worked out after an epoch, printed and decided."""
    stop, lines, evaluated = subject.spec.stop, [], []
    if subject.spec.style == "manual":
        x, y = ("x", "y") if subject.takes_all else ("x[rows]", "y[rows]")
        loss = f"mean_loss({x}, {y})" if subject.accumulates else _loss(subject, x, y)
        evaluated += [f"loss = {loss}{' + penalty()' if subject.spec.penalty.is_on else ''}"]
    if subject.needs_full_loss:
        whole = _whole_loss(subject)
        evaluated += [f"full_loss = {f'({whole})' if ' + ' in whole else whole}.item()"]
    if subject.needs_validation:
        evaluated += [f"validation_loss = {_whole_loss(subject, '_validation')}.item()"]
    if evaluated:
        lines += [*subject.mode("eval"), "with torch.no_grad():", *indented(evaluated), *subject.mode("train")]
    lines += [*printing.after_epoch(subject), *_patience(subject)]
    if stop.gradient_norm is not None:
        lines += [] if subject.whole_loss else _full_gradient(subject)
        lines += [f"if norm <= {stop.gradient_norm!r}:", "    break"]
    if stop.loss is not None:
        lines += [f"if full_loss <= {stop.loss!r}:", "    break"]
    for name, schedule in scheduled(subject):
        lines += _scheduled(subject, name, schedule)
    return lines


def _scheduled(subject: ScriptSubject, name: str, schedule: Ingredient) -> list[str]:
    """Return the lines that change an optimizer's learning rate after an epoch."""
    if schedule.name == "one_cycle":
        return []
    if not is_followed(schedule):
        return [f"{scheduler_name(name)}.step()"]
    step = f"{scheduler_name(name)}.step({'full_loss' if subject.loaded.validation is None else 'validation_loss'})"
    if schedule.name != "warmup":
        return [step]
    last = schedule.arguments["total_iters"] - (1 if subject.spec.style in printing.COUNTED_FROM_0 else 0)
    return [
        f"if epoch < {last}:",
        f"    {warmup_name(name)}.step()",
        f"elif epoch == {last}:  # the learning rate itself, without the rounding of its rise",
        f"    for group in {name}.param_groups:",
        '        group["lr"] = group["initial_lr"]',
        "else:",
        f"    {step}",
    ]


def _full_gradient(subject: ScriptSubject) -> list[str]:
    """Return the lines that work the gradient of all rows out, as it is after the epoch."""
    lines = [*subject.mode("eval"), *(f"{name}.zero_grad()" for name, _ in optimizers(subject))]
    lines += [f"{_loss(subject, 'x', 'y')}.backward()"]
    lines += [line for line in _penalized(subject) if "loss +=" not in line]
    return [*lines, *_norm(subject), *subject.mode("train")]


def _patience(subject: ScriptSubject) -> list[str]:
    stop = subject.spec.stop
    if stop.patience is None:
        return []
    watched = "validation_loss" if subject.watched_rows == "validation" else "full_loss"
    by = f" - {stop.min_delta!r}" if stop.min_delta else ""
    kept = ["    best_weights = copy.deepcopy(model.state_dict())"] if stop.restore else []
    return [
        f"if {watched} < best{by}:",
        f"    best, stale = {watched}, 0",
        *kept,
        "else:",
        "    stale += 1",
        f"if stale >= {stop.patience}:",
        "    break",
    ]

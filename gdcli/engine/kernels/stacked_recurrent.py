"""Recurrent layers of all runs of a fleet at once: a product of a batch of matrices for each step of the sequence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

Cell = Callable[[Tensor, Callable[[Tensor], Tensor], Tensor, Tensor], tuple[Tensor, Tensor]]
"""(what comes from the input [R, B, G H], h -> what comes from it, h, c) -> h, c."""


def _rnn(nonlinearity: Callable[[Tensor], Tensor]) -> Cell:
    """Return h ← f(W x + b + U h + d)."""

    def cell(of_x: Tensor, of_h: Callable[[Tensor], Tensor], h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        return nonlinearity(of_x + of_h(h)), c

    return cell


def _gru(of_x: Tensor, of_h: Callable[[Tensor], Tensor], h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Reset r, update z, new n: h ← n + z (h − n), n = tanh(x_n + r h_n)."""
    (x_r, x_z, x_n), (h_r, h_z, h_n) = of_x.chunk(3, -1), of_h(h).chunk(3, -1)
    n = torch.tanh(x_n + torch.sigmoid(x_r + h_r) * h_n)
    return n + torch.sigmoid(x_z + h_z) * (h - n), c


def _lstm(of_x: Tensor, of_h: Callable[[Tensor], Tensor], h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Input i, forget f, new g, output o: c ← f c + i g, h ← o tanh(c)."""
    i, f, g, o = (of_x + of_h(h)).chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def recurrent(part: nn.Module, own: Mapping[str, Tensor], *, last: bool) -> Callable[[Tensor], Tensor]:
    """Return the pass of an RNN, GRU or LSTM with stacked weights: rows [R, B, S, I] to [R, B, S, H].

    With ``last`` only the sequence's last step [R, B, H]. Layers in several directions and on top of each other are as
    torch has them. Source: torch.nn.RNN, torch.nn.GRU, torch.nn.LSTM.
    """
    layer: Any = part
    if isinstance(part, nn.RNN):
        cell = _rnn(torch.relu if layer.nonlinearity == "relu" else torch.tanh)
    else:
        cell = _gru if isinstance(part, nn.GRU) else _lstm
    ends = ("", "_reverse") if layer.bidirectional else ("",)
    levels = [[f"_l{k}{end}" for end in ends] for k in range(layer.num_layers)]

    def along(x: Tensor, suffix: str) -> Tensor:
        """Return the outputs [R, B, S, H] of one layer in one direction."""
        runs, rows, steps, inputs = x.shape
        of_x = _affine(x.reshape(runs, rows * steps, inputs), own, f"ih{suffix}").view(runs, rows, steps, -1)
        weight, bias = own[f"weight_hh{suffix}"].mT, own.get(f"bias_hh{suffix}")
        shift = None if bias is None else bias.unsqueeze(1)

        def of_h(h: Tensor) -> Tensor:
            return torch.bmm(h, weight) if shift is None else torch.baddbmm(shift, h, weight)

        h = c = x.new_zeros(runs, rows, layer.hidden_size)
        found, backwards = [], suffix.endswith("_reverse")
        each = of_x.unbind(2)
        for step in reversed(each) if backwards else each:
            h, c = cell(step, of_h, h, c)
            found.append(h)
        return torch.stack(found[::-1] if backwards else found, 2)

    def through(x: Tensor) -> Tensor:
        for suffixes in levels:
            parts = [along(x, suffix) for suffix in suffixes]
            x = parts[0] if len(parts) == 1 else torch.cat(parts, -1)
        return x[:, :, -1] if last else x

    return through


def _affine(x: Tensor, own: Mapping[str, Tensor], name: str) -> Tensor:
    weight, bias = own[f"weight_{name}"].mT, own.get(f"bias_{name}")
    return torch.bmm(x, weight) if bias is None else torch.baddbmm(bias.unsqueeze(1), x, weight)

"""Document 1.1's loop over the weight: the mean squared error of y = w x, one value after the other."""

from __future__ import annotations

from collections.abc import Iterable


def losses(weights: Iterable[float]) -> list[float]:
    x_data, y_data = [1.0, 2.0, 3.0], [2.0, 4.0, 6.0]
    mse_list = []
    for w in weights:
        l_sum = 0.0
        for x_val, y_val in zip(x_data, y_data):  # noqa: B905
            y_pred_val = x_val * w
            l_sum += (y_pred_val - y_val) ** 2
        mse_list.append(l_sum / 3)
    return mse_list

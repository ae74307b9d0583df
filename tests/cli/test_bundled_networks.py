"""The bundled networks learn what their descriptions say."""

from __future__ import annotations

import math

import numpy as np
import pytest

import gdcli


@pytest.mark.slow
def test_lenet_digits_gets_over_97_of_100_held_out_digits_right() -> None:
    assert gdcli.run("lenet_digits").metrics["validation_accuracy"] > 0.97


def test_iris_is_told_apart_with_the_weights_of_its_best_epoch() -> None:
    run = gdcli.run("iris")
    assert min(run.metrics["validation_accuracy"], run.metrics["test_accuracy"]) > 0.9
    assert run.metrics["validation_loss"] == run.metrics["best_validation_loss"]
    assert run.summary["last_loss"] != run.summary["final_loss"]


@pytest.mark.slow
def test_gru_sine_goes_on_with_a_sine_of_which_it_saw_no_window() -> None:
    """Windows between those of the series, which begin at whole steps: it gives the next value of each."""
    run = gdcli.run("gru_sine")
    assert run.metrics["validation_loss"] < 1e-3  # of a sine's variance of 1/2
    starts = np.arange(25) + 0.5
    wave = np.sin(2 * math.pi * (starts[:, None] + np.arange(17)) / 25)
    assert np.abs(run.predict(wave[:, :16]) - wave[:, 16:]).max() < 0.05
    assert np.array_equal(run.predict(wave[:, :16]), run.predict(wave[:, :16, None]))  # in the data's shape too

"""What is said before a sweep is what simulations of it find."""

import json

import calibration
import numpy as np
import pytest
from typer.testing import CliRunner

from dynamics.cli import app
from dynamics.emergence import power
from dynamics.metrics.refit import refit_predictions, rescore

# Both ends have one error, and the middle a tenth more.
DESIGN = power.Design(stimuli=400, neuroids=4, score=0.3, untrained=-0.3)


def test_a_gain_at_the_edge_is_seen_as_often_as_it_says():
    number, seen = 50, power.visible(DESIGN)
    p = calibration.p_of_gain(number, gain=seen.gain, error=seen.error, alike=DESIGN.alike)
    # Halves tell errors 4 % too large on purpose; the Monte-Carlo error is .06.
    assert 0.6 < (p <= 0.05).mean() < 0.96


def test_a_ratio_of_half_times_at_the_edge_is_seen_as_often_as_it_says():
    number, seen = 40, power.visible(DESIGN)
    p = calibration.p_of_ratio(number, ratio=seen.ratio, noise=seen.error, gain=0.6, logistic=True)
    assert 0.55 < (p <= 0.05).mean() < 0.97


def test_the_error_of_a_mean_score_is_that_of_ridge_regression():
    rng = np.random.default_rng(0)
    n, features, neuroids, simulations = 80, 20, 4, 80
    mixing = rng.standard_normal((features, neuroids))
    found, counted = [], []
    for _ in range(simulations):
        X = rng.standard_normal((n, features))
        Y = X @ mixing / np.sqrt(features) + 1.0 * rng.standard_normal((n, neuroids))
        K, folds = X @ X.T, np.arange(n) % 5
        alphas = np.logspace(-1, 3, 5)[None] * features
        predicted = refit_predictions(K[None], Y, folds, alphas)
        found.append(rescore(predicted, Y, np.arange(n)[None])[0, 0].mean())
        counted.append(power.independent(Y))
    design = power.Design(n, float(np.mean(counted)), float(np.mean(found)), 0.0)
    assert power.visible(design).error == pytest.approx(np.std(found, ddof=1), rel=0.3)


def test_alike_neuroids_count_as_one_and_independent_ones_as_many():
    rng = np.random.default_rng(1)
    one = rng.standard_normal((200, 1))
    assert power.independent(np.repeat(one, 30, 1)) == pytest.approx(1.0, abs=0.1)
    assert power.independent(rng.standard_normal((200, 30))) == pytest.approx(30, rel=0.2)
    assert power.independent(rng.standard_normal((50, 300))) == pytest.approx(300, rel=0.3)


def test_the_command_tells_it_of_a_target(tmp_path, monkeypatch):
    rng = np.random.default_rng(2)
    signal = rng.standard_normal((60, 5, 1))
    names = [f"s{i}" for i in range(60)]
    np.savez(tmp_path / "brain.npz", response=signal + 0.5 * rng.standard_normal((60, 5, 3)),
             stimulus=names, neuroid=list("abcde"))  # fmt: skip
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(app, ["power", "brain.npz"])
    assert said.exit_code == 0, said.output
    assert "60 stimuli, 5 neuroids" in said.output and "median noise ceiling of 0.9" in said.output
    assert "would be shown with a probability of 80 %" in said.output
    assert "for this network only, in these people" in said.output
    told = json.loads(CliRunner().invoke(app, ["power", "brain.npz", "--json"]).output)
    assert told["seen"]["gain"] > 0 and told["seen"]["ratio"] > 1
    small = CliRunner().invoke(app, ["power", "brain.npz", "--score", "0.3", "--untrained", "0.29"])
    assert "half-times would be open above" in small.output


def test_designs_out_of_range_are_refused():
    with pytest.raises(ValueError, match="power takes 8 stimuli"):
        power.visible(DESIGN._replace(stimuli=4))
    with pytest.raises(ValueError, match="correlations below 1"):
        power.visible(DESIGN._replace(score=1.2))

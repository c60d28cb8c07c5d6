"""Planted emergence: networks whose layers come to hold what simulated brains respond to.

Network and brain are the same in every simulation; stimuli and measurement noise are drawn anew,
as intervals over stimuli suppose. The truth is the statistic of the mean curve over simulations,
not of the planted weight, because a score is a non-linear function of the weight.
"""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr
from scipy.interpolate import PchipInterpolator

from dynamics import emergence
from dynamics.metrics.refit import refit_predictions, refit_ridge, rescore
from dynamics.metrics.subsets import bootstrap_rows, half_rows

STEPS = np.array([0, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000])
N, FEATURES, LATENTS, FOLDS = 165, 192, 4, 5
DECADE = np.log10(np.maximum(STEPS, 1))


def _sigmoid(middle, width=0.35):
    return np.where(STEPS == 0, 0.0, 1 / (1 + np.exp(-(DECADE - middle) / width)))


SHAPES = {
    "sigmoid": _sigmoid(2.7),
    "power": (STEPS / STEPS[-1]) ** 0.25,
    "transient": _sigmoid(2.0) * (1 - 0.75 * _sigmoid(4.0, 0.25)),
    "flat": np.zeros(len(STEPS)),
}
NOISES = {"low": 0.6, "middle": 1.2, "high": 2.4}
CURVES = [(shape, noise) for shape in SHAPES for noise in NOISES]
ALPHAS = np.logspace(-1.5, 3.5, 6)


def plant(rng, neuroids):
    """Gram matrices (steps, n, n), responses (n, curves * neuroids) and folds (n,)."""
    world = np.random.default_rng(20)
    spread = np.geomspace(1, 0.1, FEATURES)
    base = rng.standard_normal((N, FEATURES))
    drift = rng.standard_normal((len(STEPS), N, FEATURES))
    for step in range(1, len(STEPS)):
        drift[step] = 0.8 * drift[step - 1] + 0.6 * drift[step]
    X = (0.8 * base + 0.6 * drift) * spread
    Y = []
    for weight in SHAPES.values():
        latent = rng.standard_normal((N, LATENTS))
        mixing = world.standard_normal((LATENTS, FEATURES)) / np.sqrt(FEATURES)
        X = X + 2.5 * weight[:, None, None] * (latent @ mixing)
        for noise in NOISES.values():
            signal = latent @ world.standard_normal((LATENTS, neuroids)) / np.sqrt(LATENTS)
            # What the untrained network holds already.
            early = base[:, :8] @ world.standard_normal((8, neuroids)) / np.sqrt(8)
            Y.append(signal + 0.5 * early + noise * rng.standard_normal((N, neuroids)))
    K = X @ X.swapaxes(1, 2)
    return K, np.concatenate(Y, 1), np.arange(N) % FOLDS


def simulate(seed, *, neuroids=6, resamples=50, fixed=100):
    """Scores of one simulation: full (steps, curves), refitted and fixed (resamples first).

    The curve of a region is the mean over its neuroids; `one` is that of its first neuroid.
    """
    rng = np.random.default_rng(seed)
    K, Y, folds = plant(rng, neuroids)
    alphas = ALPHAS * np.trace(K, axis1=1, axis2=2)[:, None] / N
    predicted = refit_predictions(K, Y, folds, alphas)
    everyone = np.arange(N)[None]
    scores = {
        "full": rescore(predicted, Y, everyone),
        "halves": refit_ridge(K, Y, folds, half_rows(folds, resamples, seed=seed), alphas),
        "fixed": rescore(predicted, Y, bootstrap_rows(folds, fixed, seed=seed)),
    }
    out = {}
    for name, score in scores.items():
        parts = score.reshape(*score.shape[:2], len(CURVES), neuroids)
        out[name] = parts.mean(3).swapaxes(0, 1).astype("float32")
        out[f"{name}_one"] = parts[..., 0].swapaxes(0, 1).astype("float32")
    return out


def simulate_large(seed, *, neuroids=200, resamples=50, tried=20):
    """As `simulate`, for regions of so many neuroids that a search for each would take minutes.

    One alpha serves a region: the one with the best mean score over its first `tried` neuroids.
    Predictions of left-out folds are then one matrix a region times its responses.
    """
    rng = np.random.default_rng(seed)
    K, Y, folds = plant(rng, neuroids)
    # Twice as fine as `ALPHAS`: a jump of the one alpha would move all neuroids at once.
    alphas = np.logspace(-1.5, 3.5, 11) * np.trace(K, axis1=1, axis2=2)[:, None] / N
    halves = half_rows(folds, resamples, seed=seed)
    groups = {"full": [np.arange(N)[None]], "halves": [halves[0::2], halves[1::2]]}
    scores = {
        name: [_region_scores(K, Y, folds, rows, alphas, tried) for rows in several]
        for name, several in groups.items()
    }
    both = np.stack(scores["halves"], 2)
    scores["halves"] = both.reshape(both.shape[0], -1, *both.shape[3:])
    scores["full"] = scores["full"][0]
    out = {}
    for name, score in scores.items():
        out[name] = score.mean(3).swapaxes(0, 1).astype("float32")
        out[f"{name}_one"] = score[..., 0].swapaxes(0, 1).astype("float32")
    return out


def _region_scores(K, Y, folds, rows, alphas, tried):
    """Scores (steps, resamples, curves, neuroids) of resamples with folds of the same sizes."""
    rows = np.stack([each[each >= 0] for each in rows])
    rows = np.take_along_axis(rows, np.argsort(folds[rows], axis=1, kind="stable"), 1)
    y = torch.as_tensor(Y.reshape(N, len(CURVES), -1)[rows], dtype=torch.float32)
    y = y - y.mean(1, keepdim=True)
    some = y[..., :tried].flatten(2)
    y = y.permute(0, 2, 1, 3).contiguous()
    found = []
    for gram, grid in zip(K, alphas, strict=True):
        part = torch.as_tensor(gram[rows[:, :, None], rows[:, None, :]])
        H = _left_out_hat(part, folds[rows[0]], torch.as_tensor(grid))
        trial = torch.stack([_r(each @ some, some) for each in H])
        best = trial.unflatten(2, (len(CURVES), -1)).mean(3).argmax(0)
        chosen = H.swapaxes(0, 1)[torch.arange(len(rows))[:, None], best]
        found.append(_r(chosen @ y, y))
    return torch.stack(found).numpy()


def _left_out_hat(K, fold, alphas):
    """Matrices (alphas, resamples, m, m) that give the predictions of left-out folds."""
    K = K - K.mean(1, keepdim=True)
    K = K - K.mean(2, keepdim=True)
    m = K.shape[1]
    spectrum, Q = torch.linalg.eigh(K)
    weight = alphas[:, None, None] / (spectrum.clamp(min=0) + alphas[:, None, None])
    weight, Q = weight.float(), Q.float()
    R = (Q * weight[:, :, None]) @ Q.mT - 1 / m
    residual = torch.empty_like(R)
    for each in np.unique(fold):
        rows = np.flatnonzero(fold == each)
        block = R[:, :, rows][..., rows]
        residual[:, :, rows] = torch.linalg.solve(block, R[:, :, rows])
    return torch.eye(m, dtype=R.dtype) - residual


def _r(p, y):
    p = p - p.mean(-2, keepdim=True)
    scale = (p.square().sum(-2) * y.square().sum(-2)).clamp(min=1e-20).sqrt()
    return (p * y).sum(-2) / scale


SCHEMES = {
    "halves": emergence.scheme("halves", n=N, kept=N // 2, resamples=50).attrs,
    "fixed": emergence.scheme("bootstrap", n=N, kept=N, resamples=100).attrs,
}


def gather(simulations, *, key="halves", one=False):
    """Curves (sim, step, curve) and resamples of many simulations, labelled."""
    name = f"{key}_one" if one else key
    full = "full_one" if one else "full"
    coords = {"step": STEPS, "curve": [f"{shape} {noise}" for shape, noise in CURVES]}
    curve = xr.DataArray(
        np.stack([each[full][0] for each in simulations]).astype(float),
        dims=("sim", "step", "curve"),
        coords=coords,
    )
    resampled = xr.DataArray(
        np.stack([each[name] for each in simulations]).astype(float),
        dims=("sim", "resample", "step", "curve"),
        coords=coords,
        attrs=SCHEMES[key],
    )
    return curve, resampled


def centred(curve):
    """Curves of which nothing moves: what flat ones do on average is planted change, not noise.

    They lose a little while the network takes up what other curves respond to.
    """
    return curve - curve.mean("sim")


def covered(found, truth):
    """Whether intervals hold the truth; open ones hold "never"."""
    inside = (found["lower"] <= truth) & (truth <= found["upper"])
    return inside | (truth.isnull() & np.isposinf(found["upper"]))


def coverage(curve, resampled, *, statistic, method="inversion"):
    """Table by curve: truth, coverage, part open above, median width and median error."""
    truth = emergence.STATISTICS[statistic].function(curve.mean("sim"))
    found = emergence.interval(curve, resampled, statistic=statistic, method=method)
    steps = emergence.STATISTICS[statistic].goal is not None

    def scale(x):
        return np.log10(1 + x) if steps else x

    width = scale(found["upper"]) - scale(found["lower"])
    return xr.Dataset(
        {
            "truth": truth,
            "coverage": covered(found, truth).mean("sim"),
            "open": np.isinf(found["upper"]).mean("sim"),
            "width": width.where(np.isfinite(width)).median("sim"),
            "error": abs(scale(found["estimate"]) - scale(truth)).median("sim"),
        }
    )


def bound(curve, name):
    """Median error, in decades, of an efficient half-time where the form is known.

    The curves are base + height * m(x - shift) with m the mean curve over simulations and errors
    of their covariance over simulations: the Cramer-Rao bound of the half-time in that family,
    as the median of a normal error.
    """
    scores = curve.sel(curve=name).to_numpy()
    x, mean, covariance = np.log10(1 + STEPS), scores.mean(0), np.cov(scores.T)
    form = PchipInterpolator(x, mean)
    slope = (mean[-1] - mean[-2]) / (x[-1] - x[-2])

    def model(p):
        at = x - p[2]
        inside = form(np.clip(at, x[0], x[-1]))
        return p[0] + p[1] * (inside + slope * np.maximum(at - x[-1], 0))

    def when(scores):
        return float(np.log10(1 + emergence.half_time(
            xr.DataArray(scores, dims="step", coords={"step": STEPS})
        ).item()))  # fmt: skip

    if np.isnan(when(mean)):
        return np.nan
    start, size = np.array([0.0, 1.0, 0.0]), 1e-3
    sides = [[model(start + sign * size * row) for sign in (1, -1)] for row in np.eye(3)]
    design = np.stack([(up - down) / (2 * size) for up, down in sides], 1)
    slopes = np.array([(when(up) - when(down)) / (2 * size) for up, down in sides])
    information = design.T @ np.linalg.solve(covariance, design)
    return float(0.6745 * np.sqrt(slopes @ np.linalg.solve(information, slopes)))


def difference_coverage(curve, resampled):
    """Coverage of differences of two half-times, for all pairs of shapes that rise, by noise."""
    rows = []
    for noise in NOISES:
        names = [f"{shape} {noise}" for shape in SHAPES if shape != "flat"]
        part = {"curve": names}
        found = emergence.compare(curve.sel(part), resampled.sel(part), dim="curve")
        times = np.log10(1 + emergence.half_time(curve.sel(part).mean("sim"))).to_numpy()
        truth = [times[b] - times[a] for a, b in ((0, 1), (0, 2), (1, 2))]
        truth = xr.DataArray(truth, dims="pair")
        inside = ((found["lower"] <= truth) & (truth <= found["upper"])).where(
            found["difference"].notnull()
        )
        rows.append(
            xr.Dataset(
                {
                    "truth": truth,
                    "coverage": inside.mean("sim"),
                    "open": np.isinf(found["upper"] - found["lower"]).mean("sim"),
                    "none": found["difference"].isnull().mean("sim"),
                }
            ).assign_coords(
                pair=[f"{a} - {b}" for a, b in zip(found.second.data, found["first"].data)]
            )
        )
    return xr.concat(rows, "pair")

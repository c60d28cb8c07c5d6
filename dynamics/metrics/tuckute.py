"""The encoding protocol of Tuckute, Feather et al. 2023 (PLoS Biol 21(12):e3002366).

Ten random splits into 83 training and 82 test sounds; alpha by leave-one-out on the training
sounds; the median over splits. Where there are repetitions, r^2 is divided by the reliabilities of
the responses and of the predictions.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch

from dynamics.metrics.correlation import averaged, pearson, pearson_there, spearman_brown
from dynamics.metrics.factorisation import Factor, centred_split, whole_space
from dynamics.metrics.held import Compact, Source, sources_of
from dynamics.metrics.kernels import Array, as_tensor, gram_matrices, like, responses, same_rows
from dynamics.metrics.missing import over_repetitions
from dynamics.metrics.reuse import once
from dynamics.metrics.ridge import check_alphas
from dynamics.metrics.validation import takes

ALPHAS = 10.0 ** np.arange(-50, 50)
SPLITS = 10
DRAWS = 10
FLOORS = (0.182, 0.183)
BLOCK = 256
# Training sounds that the model of a single repetition needs.
FEWEST = 3


@takes(K="matrices", Y="responses", features="several")
def tuckute_ridge(
    K: Array,
    Y: Array,
    alphas: Array | None = None,
    *,
    seed: int = 0,
    features: Sequence[Array] | None = None,
) -> dict[str, Array]:
    """Encode Y from every layer, and from a layer chosen on half of the splits.

    Parameters
    ----------
    K : array of shape (layers, n, n)
        Linear Gram matrices in the activations' own units, since the alphas are absolute.
    Y : array of shape (n, v) or (n, v, repetitions)
        Responses. The study's numbers need its order of stimuli (by stimulus number). A repetition
        may lack stimuli (NaN) that others have: means are over what there is, the model of a
        repetition is fitted on its training sounds, and reliabilities are stepped up to the
        repetitions that a mean has of noise, see `noise_ceiling`.
    alphas : array of shape (a,), optional
        Penalties, by default 10^-50 ... 10^49.
    seed : int
        Seed of the splits and of the draws; 0 gives the study's splits.
    features : sequence of arrays of shape (n, p), optional
        As for `pepino_ridge`.

    Returns
    -------
    dict of arrays
        ``split_r`` (layers, splits, v): test correlation, 0 if negative or if the prediction is
        constant. ``split_r2``: its square; ``split_r2_corrected`` with repetitions: divided by
        the reliabilities of responses and predictions. ``layer_r2``, ``layer_r`` (layers, v):
        medians over splits (corrected where possible; ``layer_r`` never is). ``draw_layer``
        (draws, v): layer that is best on half of the splits; ``r2`` (v,): the mean over draws of
        its median on the other splits (with one layer simply the median over splits). ``alpha``
        (layers, splits, v). ``alpha_edge``: fraction of alphas at the edge. Constant neuroids
        score 0.

    Raises
    ------
    ValueError
        If shapes do not fit, a stimulus has no finite response, an alpha is not positive, or there
        are fewer than 6 stimuli.
    """
    gram = gram_matrices(K)
    target = as_tensor(Y).to(gram.device)
    target = target[:, None] if target.ndim == 1 else target
    mean = responses(over_repetitions(target) if target.ndim == 3 else target)
    same_rows(gram[0], target, names=("K", "Y"))
    if len(target) < 6:
        raise ValueError(f"{len(target)} stimuli are too few to split in half: give at least 6")
    repeated = target.ndim == 3 and target.shape[2] > 1
    singles = target.unbind(2) if repeated else ()
    grid = check_alphas(ALPHAS if alphas is None else alphas, gram)[0]

    layers = [_Layer(source, float(grid[0])) for source in sources_of(gram, features)]
    shape = (len(gram), SPLITS, mean.shape[1])
    out = {name: gram.new_empty(shape) for name in ("split_r", "alpha")}
    corrected = gram.new_empty(shape)
    for s, split in enumerate(random_splits(len(target), seed=seed)):
        train, test = (torch.as_tensor(rows, device=gram.device) for rows in split)
        for number, layer in enumerate(layers):
            model = layer.model(train, test)
            prediction, alpha = model.fit_predict(mean, grid)
            r = torch.nan_to_num(pearson(prediction, mean[test])).clamp(min=0)
            out["split_r"][number, s], out["alpha"][number, s] = r, alpha
            if repeated:
                predicted = [_predict_single(model, layer, test, y, grid) for y in singles]
                heard = target[train].isfinite().sum(2)
                noise = _reliability([y[train] for y in singles], FLOORS[0], heard)
                noise = noise * _reliability(predicted, FLOORS[1], heard)
                corrected[number, s] = r.square() / noise
    out["split_r2"] = out["split_r"].square()
    if repeated:
        out["split_r2_corrected"] = corrected
    scores = corrected if repeated else out["split_r2"]
    out["layer_r2"], out["layer_r"] = (numpy_median(x) for x in (scores, out["split_r"]))
    out["draw_layer"], out["r2"] = _draw_layers(scores, seed)
    out["r"] = out["r2"].sqrt()
    at_edge = (out["alpha"] == grid[0]) | (out["alpha"] == grid[-1])
    out["alpha_edge"] = at_edge.double().mean()
    return {name: like(value, K, Y) for name, value in out.items()}


def random_splits(n: int, *, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Ten random halves (training first and larger), drawn as the study's code draws them.

    Parameters
    ----------
    n : int
        Number of stimuli, 165 in the study.
    seed : int
        The study's is 0.

    Returns
    -------
    list of (training rows, test rows)
        Ascending row numbers.
    """
    # The study's splits can be had from NumPy's old generator alone.
    rng = np.random.RandomState(seed)
    splits = []
    for _ in range(SPLITS):
        train = np.sort(rng.choice(n, size=(n + 1) // 2, replace=False))
        rest = np.setdiff1d(np.arange(n), train)
        splits.append((train, np.sort(rng.choice(rest, size=len(rest), replace=False))))
    return splits


class LeaveOneOut(NamedTuple):
    """Ridge with alpha by exact leave-one-out error, for one layer and training split.

    With Q, lambda of the centred Gram matrix without the constant direction, the residual of
    stimulus i when it is left out is sum_k Q_ik (Q'y)_k / (lambda_k + alpha) over
    sum_k Q_ik^2 / (lambda_k + alpha), which holds for any alpha without loss of digits.
    """

    Q: torch.Tensor
    spectrum: torch.Tensor
    A: torch.Tensor
    train: torch.Tensor

    @classmethod
    def of(cls, K: torch.Tensor, train: torch.Tensor, test: torch.Tensor) -> LeaveOneOut:
        """Decompose one training split of a Gram matrix (n, n)."""
        inside, across = centred_split(K, train, test)
        m = len(train)
        # Lift the constant direction above all others so that it can be told and left out.
        top = torch.linalg.matrix_norm(inside).clamp(min=1e-300)
        spectrum, Q = torch.linalg.eigh(inside + 2 * top / m)
        spectrum, Q = spectrum[:-1].clamp(min=0), Q[:, :-1]
        rounding = spectrum[-1] * m * torch.finfo(K.dtype).eps
        kept = spectrum > rounding
        spectrum = torch.where(kept, spectrum, 0.0)
        return cls(Q, spectrum, torch.where(kept, across @ Q, 0.0), train)

    @classmethod
    def of_singular(cls, X: torch.Tensor, train: torch.Tensor, test: torch.Tensor) -> LeaveOneOut:
        """Decompose one training split of activations (n, p) by its singular values."""
        found = Factor.of_singular(X, train, test)
        Q = whole_space(found.P.T)
        zeros = found.A.new_zeros(Q.shape[1] - len(found.spectrum))
        across = torch.cat([zeros.expand(len(test), -1), found.A], 1)
        return cls(Q, torch.cat([zeros, found.spectrum]), across, train)

    def fit_predict(self, Y: torch.Tensor, grid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Predictions (test, v) for Y (n, v) and the alphas chosen (v,); ascending grid."""
        inside = Y[self.train]
        mean = inside.mean(0)
        B = self.Q.T @ (inside - mean)
        shrink = 1 / (self.spectrum + grid[:, None])
        residual_of = (self.Q * shrink[:, None]) / (self.Q.square() @ shrink.T).T[:, :, None]
        alpha = torch.empty_like(mean)
        for start in range(0, Y.shape[1], BLOCK):
            part = slice(start, start + BLOCK)
            errors = torch.stack([(R @ B[:, part]).square().mean(0) for R in residual_of])
            alpha[part] = grid[len(grid) - 1 - errors.flip(0).argmin(0)]
        return self.A @ (B / (self.spectrum[:, None] + alpha)) + mean, alpha


def numpy_median(x: torch.Tensor, dim: int = 1) -> torch.Tensor:
    """Median that averages the middle two, ignoring NaN."""
    return x.nanquantile(0.5, dim)


class _Layer:
    """What a layer is split from: its Gram matrix, or activations where penalties are below it."""

    def __init__(self, source: Source, lowest: float):
        self._matrix, self._lowest, self._compact = source.matrix, lowest, Compact(source)

    def model(self, train: torch.Tensor, test: torch.Tensor) -> LeaveOneOut:
        """Decompose one training split."""
        parts = self._matrix, train, test
        model = once("leave one out", lambda: LeaveOneOut.of(*parts), *parts)
        if self._compact.lost(model.spectrum, len(train), self._lowest):
            fine = self._compact(), train, test
            return once("by singular values", lambda: LeaveOneOut.of_singular(*fine), *fine)
        return model


def _predict_single(
    model: LeaveOneOut, layer: _Layer, test: torch.Tensor, y: torch.Tensor, grid: torch.Tensor
) -> torch.Tensor:
    """Predictions (test, v) from one repetition, each neuroid on the training sounds it has."""
    there = y[model.train].isfinite()
    if there.all():
        return model.fit_predict(y, grid)[0]
    out = y.new_full((len(test), y.shape[1]), torch.nan)
    for pattern in there.unique(dim=1).unbind(1):
        members = (there == pattern[:, None]).all(0).nonzero().ravel()
        if int(pattern.sum()) >= FEWEST:
            own = layer.model(model.train[pattern], test)
            out[:, members] = own.fit_predict(y[:, members], grid)[0]
    return out


def _reliability(
    repetitions: list[torch.Tensor], floor: float, heard: torch.Tensor
) -> torch.Tensor:
    """Median pair correlation over rows, Spearman-Brown corrected, at least `floor`."""
    pairs = [pearson_there(b, a) for a, b in combinations(repetitions, 2)]
    r = numpy_median(torch.stack(pairs), 0)
    return torch.nan_to_num(spearman_brown(r, averaged(heard)), nan=floor).clamp(min=floor)


def _draw_layers(scores: torch.Tensor, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Layer chosen on half of the splits, and its mean score over draws on the other half."""
    rng = np.random.default_rng(seed)
    if len(scores) == 1:
        only = torch.zeros(DRAWS, scores.shape[2], dtype=torch.int64, device=scores.device)
        return only, numpy_median(scores)[0]
    layers, reported = [], []
    for _ in range(DRAWS):
        order = rng.permutation(SPLITS)
        half = SPLITS // 2
        choosing, reporting = (torch.as_tensor(o) for o in (order[:half], order[half:]))
        layer = numpy_median(scores[:, choosing]).argmax(0)
        layers.append(layer)
        reported.append(numpy_median(scores[:, reporting]).gather(0, layer[None])[0])
    return torch.stack(layers), torch.stack(reported).mean(0)

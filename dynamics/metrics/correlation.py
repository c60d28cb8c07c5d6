"""Correlation over stimuli, and what counts as constant.

One rule: a response that is constant has no correlation (NaN), for there is nothing to predict; a
prediction that is constant has 0, for it predicts nothing. The protocols *pepino* and *tuckute* put
0 for both, as published. Between two sides that are both data, such as dissimilarities, either one
that is constant gives NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from dynamics.metrics.missing import mean_there

CONSTANT = 1e-12
"""Deviation up to which a column is constant but for rounding, as a part of its largest size."""

CANCELLED = 1e-12
"""The same of a variance that is a sum of squares less a squared sum, as a part of the former."""

FAINT = 1e-14
"""The same of a prediction, which a large penalty makes small beside its mean without harm."""


def pearson(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Column-wise Pearson r of (n, v) with (n, v); 0 for a constant x, NaN for a constant y."""
    x, y = x - x.mean(0), y - y.mean(0)
    power_y = y.square().sum(0)
    scale = x.square().sum(0).sqrt() * power_y.sqrt()
    return ratio((x * y).sum(0), scale, moves=scale > 0, varies=power_y > 0)


def ratio(
    product: torch.Tensor,
    scale: torch.Tensor,
    *,
    moves: torch.Tensor,
    varies: torch.Tensor | None = None,
) -> torch.Tensor:
    """Pearson r from centred sums.

    Parameters
    ----------
    product : tensor
        Sum of x y.
    scale : tensor
        Root of the sum of x^2 times the sum of y^2.
    moves, varies : tensor of bool
        Where the prediction x and the response y are not constant; the latter everywhere by
        default.

    Returns
    -------
    tensor
        0 where x is constant, NaN where y is.
    """
    r = torch.where(moves, product / scale.clamp(min=1e-300), 0.0).clamp(-1, 1)
    return r if varies is None else torch.where(varies, r, torch.nan)


def pearson_there(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Column-wise `pearson` over the rows that both have, NaN with fewer than 3 of them."""
    both = x.isfinite() & y.isfinite()
    plain = pearson(x, y)
    if both.all():
        return plain
    count = both.sum(0).clamp(min=1)
    x, y = (torch.where(both, z, 0.0) for z in (x, y))
    x, y = (torch.where(both, z - z.sum(0) / count, 0.0) for z in (x, y))
    some = torch.where(both.sum(0) >= 3, pearson(x, y), torch.nan)
    return torch.where(both.all(0), plain, some)


def pooled_r(prediction: torch.Tensor, y: torch.Tensor, rows: list[torch.Tensor]) -> torch.Tensor:
    """Pearson r over all folds; 0 where the prediction is constant inside every fold."""
    ranges = [prediction[test].amax(0) - prediction[test].amin(0) for test in rows]
    flat = (torch.stack(ranges) <= CONSTANT).all(0)
    return torch.where(flat, 0.0, pearson(prediction, y))


def clipped_square(r: torch.Tensor) -> torch.Tensor:
    """Squared correlation, 0 where the correlation is negative; NaN stays NaN."""
    return r.clamp(min=0).square()


def cosines(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Cosines (a, b) of rows (a, m) with rows (b, m); NaN where either is zero."""
    lengths = torch.outer(torch.linalg.vector_norm(x, dim=1), torch.linalg.vector_norm(y, dim=1))
    return torch.where(lengths > 0, x @ y.T / lengths, torch.nan).clamp(-1, 1)


def correlations(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Pearson r (a, b) of rows (a, m) with rows (b, m); NaN where either is constant."""
    return cosines(x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True))


def standardise(X: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Columns of (n, ...) with mean 0 and deviation 1 over what is there.

    Parameters
    ----------
    X : tensor of shape (n, ...)
        NaN where there is nothing.

    Returns
    -------
    scaled : tensor of shape (n, ...)
        Constant columns are 0; what is not there stays NaN.
    constant : tensor of bool, shape (...)
        Which columns are constant.
    """
    centred, spread, varies = _moments(X)
    scaled = torch.where(varies, centred / torch.where(varies, spread, 1.0), 0.0)
    return torch.where(X.isfinite(), scaled, torch.nan), ~varies


def varying(X: Any) -> Any:
    """Mark the columns of (n, ...) that differ between stimuli; what is not there does not."""
    return _moments(X)[2]


def spearman_brown(r: torch.Tensor, repetitions: int | torch.Tensor) -> torch.Tensor:
    """Reliability of the mean of so many repetitions from that of one."""
    return repetitions * r / (1 + (repetitions - 1) * r)


def averaged(counts: torch.Tensor) -> torch.Tensor:
    """Of how many repetitions (v,) an average has the noise, from those of each stimulus (n, v)."""
    some = counts > 0
    most = counts.amax(0)
    equal = ((counts == most) | ~some).all(0)
    inverse = torch.where(some, 1 / counts.clamp(min=1), 0.0).double().sum(0)
    return torch.where(equal, most.double(), some.sum(0) / inverse.clamp(min=1e-300))


def _moments(X: Any) -> tuple[Any, Any, Any]:
    """Return columns less their means, their deviations, and which vary, of arrays or tensors."""
    room = np if isinstance(X, np.ndarray) else torch
    centred = X - mean_there(X, 0)
    spread = room.sqrt(mean_there(centred**2, 0))
    largest = room.amax(room.abs(room.where(room.isfinite(X), X, 0.0)), 0)
    return centred, spread, spread > CONSTANT * largest

"""Correlation of a brain score with a task score over checkpoints or models."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy import stats
from scipy.interpolate import BSpline

# What `dynamics.probes.overall` says of a score of one run, and no score over models may be.
WITHIN_ONE_RUN = "the steps and layers of one run"
BOTH_GROW = (
    "two scores that both grow with training correlate over checkpoints, whatever they have to do "
    "with each other"
)
_LEAST, _JUMP = 20, 0.25
KINDS = {"pearson": lambda x: x, "spearman": stats.rankdata}


def correlate(
    brain: xr.DataArray,
    task: xr.DataArray,
    *,
    dim: str = "step",
    kind: str = "pearson",
    partial: bool | None = None,
) -> xr.Dataset:
    """Correlate two curves over checkpoints, raw and with the trend of training taken off.

    Everything that grows with training correlates with everything else that does, so the raw
    correlation over checkpoints has no p value: two curves that rise for reasons of their own have
    p <= .05 in 35 to 100 % by any test of it. The partial correlation is of what is left after a
    smooth trend in log(1 + step), a cubic spline of two thirds as many parameters as there are
    checkpoints: fluctuations from checkpoint to checkpoint that both have. Its p value is there
    from 20 checkpoints on, and where the two do not jump together, by a quarter of their range
    between two checkpoints, which no trend follows; then two equal sigmoids with noise of their own
    have p <= .05 in 3 to 8 % (20 to 60 checkpoints, 300 simulations each).

    There are no limits over stimuli: the errors of a brain score make every such correlation weaker
    than that of the scores without errors, which limits around it do not know. Those from resamples
    of the stimuli held the correlation of the true scores in 0 to 96 % of simulations.

    Parameters
    ----------
    brain, task : xarray.DataArray
        Scores with a common dimension; joined by its coordinate where there is one.
    dim : str
        ``"step"`` for checkpoints, ``"model"`` for models, whose order means nothing: their
        number is taken as it is.
    kind : str
        ``"pearson"`` or ``"spearman"``.
    partial : bool, optional
        Whether to partial out training step; by default where `brain` has a coordinate `step`
        along `dim`.

    Returns
    -------
    xarray.Dataset
        `r`, `p`, `effective_n` along `form`: "raw" and "partial". Over checkpoints `effective_n` of
        "raw" is n (1 - ab) / (1 + ab), a and b the lag-one autocorrelations of the two (Bartlett
        1935). Attribute `caution`: what a reader has to be told.

    Raises
    ------
    ValueError
        If the kind is unknown, fewer than 4 entries are common to both, or models are compared by
        a score that was z-scored within each of them.
    """
    if kind not in KINDS:
        raise ValueError(f"there is no correlation {kind!r}: use pearson or spearman")
    brain, task = xr.align(brain, task, join="inner")
    if brain.sizes.get(dim, 0) < 4:
        raise ValueError(
            f"{brain.sizes.get(dim, 0)} entries of {dim!r} are common to brain and task score: "
            "at least 4 are needed"
        )
    if dim != "step":
        check_over_models(brain, task)
    with_step = "step" in brain.coords and brain["step"].dims == (dim,)
    partial = with_step if partial is None else partial
    if partial and not with_step:
        raise ValueError(f"the brain score has no coordinate `step` along {dim!r} to partial out")
    steps = np.log1p(brain["step"].to_numpy().astype(float)) if partial else None
    parts = {"raw": None} | ({"partial": steps} if partial else {})
    found = []
    for covariate in parts.values():
        found.append(_one(brain, task, dim, kind, covariate, dim == "step"))
    form = xr.DataArray(list(parts), dims="form", name="form")
    told = {"kind": kind} | ({"caution": BOTH_GROW} if dim == "step" else {})
    return xr.concat(found, form, coords="minimal", compat="override").assign_attrs(told)


def check_over_models(*scores: xr.DataArray) -> None:
    """Raise a ValueError if one of some scores was z-scored within each model.

    Parameters
    ----------
    *scores : xarray.DataArray
        Scores that are compared over models.

    Raises
    ------
    ValueError
        If the mean of one is 0 by construction, whatever the model.
    """
    if any(each.attrs.get("zscored_over") == WITHIN_ONE_RUN for each in scores):
        raise ValueError(
            f"the task score is z-scored over {WITHIN_ONE_RUN}, so that its mean is 0 whatever the "
            "model: make one of all models, `dynamics.probes.overall` of their stores by name"
        )


def _one(brain, task, dim, kind, covariate, ordered) -> xr.Dataset:
    r, p, effective = xr.apply_ufunc(
        lambda x, y: _correlation(x, y, kind, covariate, ordered),
        brain,
        task,
        input_core_dims=[[dim], [dim]],
        output_core_dims=[[], [], []],
        vectorize=True,
        output_dtypes=[float] * 3,
    )
    return xr.Dataset({"r": r, "p": p, "effective_n": effective})


def _correlation(x, y, kind, covariate, ordered) -> tuple[float, float, float]:
    use = np.isfinite(x) & np.isfinite(y)
    if use.sum() < 4:
        return np.nan, np.nan, np.nan
    jump = _jump(x[use], y[use])
    x, y = KINDS[kind](x[use]), KINDS[kind](y[use])
    lost, number = 2, len(x)
    if covariate is not None:
        design = _trend(covariate[use]) if ordered else _line(KINDS[kind](covariate[use]))
        x, y = (v - design @ np.linalg.lstsq(design, v, rcond=None)[0] for v in (x, y))
        lost = 1 + design.shape[1]
    x, y = x - x.mean(), y - y.mean()
    scale = np.sqrt((x @ x) * (y @ y))
    if not scale > 1e-14 * max(1.0, float(np.abs(x).max() * np.abs(y).max())):
        return np.nan, np.nan, np.nan
    r = float(np.clip(x @ y / scale, -1, 1))
    effective = float(number)
    if ordered and covariate is None:
        product = (x[1:] @ x[:-1] / (x @ x)) * (y[1:] @ y[:-1] / (y @ y))
        effective = float(np.clip(number * (1 - product) / (1 + product), lost + 1, number))
    freedom = max(effective - lost, 1.0)
    t = r * np.sqrt(freedom / max(1 - r**2, 1e-15))
    known = not ordered or (covariate is not None and number >= _LEAST and jump <= _JUMP)
    return r, float(2 * stats.t.sf(abs(t), freedom)) if known else np.nan, effective


def _jump(x: np.ndarray, y: np.ndarray) -> float:
    """Return the largest part of their ranges that both go between two neighbours."""
    ranges = np.ptp(x), np.ptp(y)
    if not min(ranges) > 0:
        return np.inf
    return float(np.minimum(*(abs(np.diff(v)) / r for v, r in zip((x, y), ranges))).max())


def _line(z: np.ndarray) -> np.ndarray:
    return np.column_stack([np.ones(len(z)), z])


def _trend(z: np.ndarray) -> np.ndarray:
    """Return cubic B-splines (n, two thirds of n) of ascending places, knots at their quantiles."""
    n = len(z)
    number = min(max(2, round(2 * n / 3)), n - 2)
    degree = min(3, number - 1)
    inner = np.quantile(z, np.linspace(0, 1, number - degree + 1)[1:-1])
    knots = np.r_[[z[0]] * (degree + 1), inner, [z[-1]] * (degree + 1)]
    return BSpline.design_matrix(z, knots, degree).toarray()

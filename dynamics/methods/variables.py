"""What a metric's results are called, in which dimensions, with which description."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynamics import emergence

Variables = dict[str, tuple[tuple[str, ...], np.ndarray]]
"""Dimensions and values by name, without the step axis."""

_HALVES = emergence.scheme("halves", n=2, kept=1, resamples=2)


def _about(description: str, units: str = "1") -> dict[str, Any]:
    return {"description": description, "units": units}


ATTRS: dict[str, dict[str, Any]] = {
    "resample_score": _about("score on complementary halves of the stimuli, refitted")
    | _HALVES.attrs,
    "null_score": _about(
        "score with stimuli of the target, or of what a baseline leaves, shuffled"
    ),
    "p_value": _about("part of the shuffles that reach the score, the score itself counted in"),
    "score": _about("similarity of a layer to the target"),
    "r2_corrected": _about("r2 over the reliability of the responses"),
    "r2": _about("squared correlation of pooled predictions, 0 if negative"),
    "fold_score": _about("correlation within each test fold"),
    "best_score": _about("score, layer chosen on other stimuli"),
    "best_r2": _about("r2, layer chosen in the training folds"),
    "best_layer": _about("index of the layer chosen on other stimuli"),
    "layer_share": _about("part of the pairs of stimuli for which this layer was chosen"),
    "null_best_score": _about("best_score with the target's stimuli shuffled"),
    "null_total_score": _about("total_score with the target's stimuli shuffled"),
    "total_score": _about("correlation of pooled predictions of all parts together"),
    "total_r2": _about("r2 of all parts together"),
    "weight": _about("weight of the layer's kernel, 0 to 1; its penalty is alpha over this"),
    "unique_r2": _about("r2 of layer and baseline together less that of the baseline"),
    "baseline_unique_r2": _about("r2 of layer and baseline together less that of the layer"),
    "shared_r2": _about("r2 that layer and baseline explain both"),
    "layer_r2": _about("r2 of the layer alone"),
    "baseline_r2": _about("r2 of the baseline alone"),
    "time_score": _about("correlation over stimuli at each time after the onset"),
    "latency_score": _about("correlation of the prediction from one delay alone"),
    "best_latency": _about("delay of the activations that predicts best", "s"),
    "best_window": _about("index of the delay window chosen in the training folds"),
    "window_score": _about("correlation of the prediction from each window of delays"),
    "temporal_score": _about("correlation over layers of depth with the delay that predicts best"),
    "alpha_edge": _about("part of the penalties chosen at an edge of those that were tried"),
    "similarity": _about("similarity of a layer at two steps"),
    "layer_similarity": _about("similarity of two layers at one step"),
}


_NO_CORRELATIONS = ("banded", "variance_partition", "mutual_knn")


def attrs_of(metric: str) -> dict[str, dict[str, Any]]:
    """Return the attributes of a metric's variables.

    Only errors of correlations shrink as `dynamics.emergence.stabilised` has it; those of parts of
    variance and of shared neighbours are left as the halves give them.
    """
    if metric not in _NO_CORRELATIONS:
        return ATTRS
    return ATTRS | {"resample_score": ATTRS["resample_score"] | {"correlation": 0}}


def first_halves(halves: np.ndarray | None, resamples: int) -> np.ndarray | None:
    """Return the first of a sweep's halves, for metrics that cannot afford all.

    Parameters
    ----------
    halves : array of shape (resamples, kept) or None
        Complementary halves, two by two.
    resamples : int
        How many to keep, an even number; 0 for none.

    Returns
    -------
    array of shape (at most `resamples`, kept) or None
        None where there are none.

    Raises
    ------
    ValueError
        If the number is odd or negative.
    """
    if not isinstance(resamples, int) or resamples < 0 or resamples % 2:
        raise ValueError(
            f"halves come in pairs: give an even number of resamples, not {resamples!r}"
        )
    return None if halves is None or resamples == 0 else halves[:resamples]

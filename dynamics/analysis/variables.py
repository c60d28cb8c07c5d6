"""What a metric's results are called, in which dimensions, with which description."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynamics import emergence

Variables = dict[str, tuple[tuple[str, ...], np.ndarray]]
"""Dimensions and values by name, without the step axis."""


def _about(description: str, units: str = "1") -> dict[str, Any]:
    return {"description": description, "units": units}


ATTRS: dict[str, dict[str, Any]] = {
    "resample_score": _about("score on complementary halves of the stimuli, refitted"),
    "r2_resample_score": _about("r2 on complementary halves of the stimuli, refitted"),
    "resample_mean": _about(
        "score on complementary halves of the stimuli, refitted: mean over a group of neuroids, "
        "those of one subject and region, which `group_of_neuroid` names"
    ),
    "resample_count": _about("neuroids of the group that have such a score", "neuroids"),
    "r2_resample_mean": _about(
        "r2 on complementary halves of the stimuli, refitted, brought to the level of all stimuli: "
        "mean over a group of neuroids"
    ),
    "r2_resample_count": _about("neuroids of the group that have such an r2", "neuroids"),
    "r2_corrected_resample_mean": _about(
        "r2_resample_mean with each neuroid's r2 over the reliability of its responses"
    ),
    "r2_corrected_resample_count": _about("neuroids with such an r2_corrected", "neuroids"),
    "group_of_neuroid": _about("group over which resamples of the neuroid are averaged"),
    "group_size": _about("neuroids of the group", "neuroids"),
    "null_score": _about(
        "score with stimuli of the target, or of what a baseline leaves, shuffled"
    ),
    "p_value": _about("part of the shuffles that reach the score, the score itself counted in"),
    "score": _about("similarity of a layer to the target"),
    "r2_corrected": _about("r2 over the reliability of the responses"),
    "r2": _about("squared correlation of pooled predictions, 0 if negative"),
    "fold_score": _about("correlation within each test fold"),
    "prediction": _about("prediction of each stimulus from the folds without it", "as responses"),
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
    "best_time": _about("time after the onset at which the score is highest", "s"),
    "stimulus_score": _about("correlation over the times of each stimulus"),
    "shared_score": _about(
        "score after the mean over stimuli at each time is removed from responses and predictions"
    ),
    "alpha": _about("penalty"),
    "latency_score": _about("correlation of the prediction from one delay alone"),
    "best_latency": _about("delay of the activations that predicts best", "s"),
    "best_window": _about("index of the delay window chosen in the training folds"),
    "window_score": _about("correlation of the prediction from each window of delays"),
    "temporal_score": _about("correlation over layers of depth with the delay that predicts best"),
    "alpha_edge": _about("part of the penalties chosen at an edge of those that were tried"),
    "similarity": _about("similarity of a layer at two steps"),
    "layer_similarity": _about("similarity of two layers at one step"),
}


RESAMPLED = tuple(name for name in ATTRS if "resample_" in name)
"""Variables that hold scores on resamples, or how many neuroids they are of."""


def scheme_of(*, correlation: bool) -> dict[str, Any]:
    """Return what `dynamics.emergence.Scheme` reads about a metric's resamples.

    Only errors of correlations shrink as `dynamics.emergence.stabilised` has it; those of parts of
    variance and of shared neighbours are left as the halves give them.

    Parameters
    ----------
    correlation : bool
        Whether scores are correlations.

    Returns
    -------
    dict
        Attributes.
    """
    halves = emergence.scheme("halves", n=2, kept=1, resamples=2).attrs
    return halves | ({} if correlation else {"correlation": 0})


def first_halves(halves: np.ndarray | None, resamples: int | None) -> np.ndarray | None:
    """Return the first of a sweep's halves, for metrics that cannot afford all.

    Parameters
    ----------
    halves : array of shape (resamples, kept) or None
        Complementary halves, two by two.
    resamples : int or None
        How many to keep, an even number; 0 for none, None for all.

    Returns
    -------
    array of shape (at most `resamples`, kept) or None
        None where there are none.

    Raises
    ------
    ValueError
        If the number is odd or negative.
    """
    if resamples is None:
        return halves
    if not isinstance(resamples, int) or resamples < 0 or resamples % 2:
        raise ValueError(
            f"halves come in pairs: give an even number of resamples, not {resamples!r}"
        )
    return None if halves is None or resamples == 0 else halves[:resamples]

"""Metrics as an analyzer calls them: the layers of one step and a target in, variables out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dynamics import emergence, metrics
from dynamics.config import Sweep
from dynamics.metrics import refit, subsets
from dynamics.targets import Target

Variables = dict[str, tuple[tuple[str, ...], np.ndarray]]
"""Dimensions and values by name, without the step axis."""


def _ridge(
    layers: Mapping[str, np.ndarray],
    target: Target,
    *,
    halves: np.ndarray | None = None,
    **arguments: Any,
) -> Variables:
    given = {"folds": target.folds} if arguments.get("protocol") != "tuckute" else {}
    found = metrics.encode(dict(layers), target.response, **given, **arguments)
    dims = {
        "layer_r": ("score", ("layer", "neuroid")),
        "layer_r2": ("r2", ("layer", "neuroid")),
        "layer_r2_corrected": ("r2_corrected", ("layer", "neuroid")),
        "fold_r": ("fold_score", ("layer", "split", "neuroid")),
        "r": ("best_score", ("neuroid",)),
        "r2": ("best_r2", ("neuroid",)),
        "layer": ("best_layer", ("split", "neuroid")),
    }
    values = {
        name: (axes, np.asarray(found[key]))
        for key, (name, axes) in dims.items()
        if key in found and np.ndim(found[key]) == len(axes)
    }
    if halves is not None and arguments.get("protocol", "default") == "default":
        alphas = arguments.get("alphas")
        K = metrics.grams(dict(layers))[1]
        again = refit.refit_ridge(K, target.mean_response, target.folds, halves, alphas)
        values["resample_score"] = (("layer", "resample", "neuroid"), np.asarray(again))
    return values


def _rsa(
    layers: Mapping[str, np.ndarray],
    target: Target,
    *,
    distance: str = "correlation",
    compare: str = "spearman",
    zscore: bool = True,
    halves: np.ndarray | None = None,
) -> Variables:
    own = "sqeuclidean" if distance == "crossnobis" else distance
    D = np.stack([metrics.rdm(X, distance=own, zscore=zscore) for X in layers.values()])
    E = subject_rdms(target, distance=distance, zscore=zscore)
    score = metrics.compare_rdms(D, E, compare=compare)
    values: Variables = {"score": (("layer", "subject"), np.asarray(score))}
    if halves is not None and compare in _RESAMPLED_COMPARISONS:
        counts = subsets.counts(halves, len(target.rows))
        again = metrics.resampled_rsa(D, E, counts, compare=compare)
        axes = ("layer", "resample", "subject")
        values["resample_score"] = (axes, np.asarray(again).transpose(1, 0, 2))
    return values


_RESAMPLED_COMPARISONS = ("spearman", "pearson", "cosine")


def subject_rdms(
    target: Target, *, distance: str = "correlation", zscore: bool = True
) -> np.ndarray:
    """Return one RDM a subject, (n_subjects, n_joined, n_joined)."""
    crossed = distance == "crossnobis"  # which needs the repetitions themselves
    responses = [target.of_subject(name, mean=not crossed) for name in target.subject_names]
    return np.stack([metrics.rdm(Y, distance=distance, zscore=zscore) for Y in responses])


def _by_subject(compare: Callable[..., float]) -> Callable[..., Variables]:
    """Make a method of a function that compares two spaces, subject by subject."""

    def method(
        layers: Mapping[str, np.ndarray],
        target: Target,
        *,
        halves: np.ndarray | None = None,
        **arguments: Any,
    ) -> Variables:
        responses = [target.of_subject(name) for name in target.subject_names]
        scores = [[compare(X, Y, target, **arguments) for Y in responses] for X in layers.values()]
        return {"score": (("layer", "subject"), np.array(scores, dtype=float))}

    return method


def _canonical(function: Callable[..., float]) -> Callable[..., float]:
    # With nearly as many components as stimuli only a cross-validated one is not 1.0.
    return lambda X, Y, target, **arguments: function(X, Y, **({"folds": target.folds} | arguments))


METHODS: dict[str, Callable[..., Variables]] = {
    "ridge": _ridge,
    "rsa": _rsa,
    "cka": _by_subject(lambda X, Y, _, **arguments: metrics.cka(X, Y, **arguments)),
    # The cosine of the angular distance, so that more is closer as in the others.
    "procrustes": _by_subject(lambda X, Y, _: np.cos(metrics.procrustes(X, Y, kind="angular"))),
    "svcca": _by_subject(_canonical(metrics.svcca)),
    "pwcca": _by_subject(_canonical(metrics.pwcca)),
    "mutual_knn": _by_subject(
        lambda X, Y, _, **arguments: metrics.mutual_knn(X, Y, **({"k": 10} | arguments))
    ),
}

# Beyond so many neuroids the refits of every one would outgrow the scores a hundredfold.
_MOST_RESAMPLED = 500

_HALVES = emergence.scheme("halves", n=2, kept=1, resamples=2)
ATTRS: dict[str, dict[str, Any]] = {
    "resample_score": {
        "description": "score on complementary halves of the stimuli, refitted",
        "units": "1",
        **_HALVES.attrs,
    },
    "score": {"description": "similarity of a layer to the target", "units": "1"},
    "r2_corrected": {"description": "r2 over the reliability of the responses", "units": "1"},
    "r2": {"description": "squared correlation of pooled predictions, 0 if negative", "units": "1"},
    "fold_score": {"description": "correlation within each test fold", "units": "1"},
    "best_score": {"description": "correlation, layer chosen in the training folds", "units": "1"},
    "best_r2": {"description": "r2, layer chosen in the training folds", "units": "1"},
    "best_layer": {"description": "index of the layer chosen in the training folds", "units": "1"},
}


def check_method(name: str) -> None:
    """Raise a ValueError that lists the metrics if there is none of this name."""
    if name not in METHODS:
        raise ValueError(f"unknown metric {name!r}: there are {', '.join(METHODS)}")


def halves_of(target: Target, sweep: Sweep) -> np.ndarray | None:
    """Return the halves of the stimuli on which every score of a target is computed again.

    Parameters
    ----------
    target : Target
        The brain target.
    sweep : Sweep
        Says how many, and the seed.

    Returns
    -------
    array of shape (n_resamples, n_kept) or None
        None where the sweep wants none, or there are too many neuroids to refit each.
    """
    if sweep.resamples == 0 or target.response.shape[1] > _MOST_RESAMPLED:
        return None
    return subsets.half_rows(target.folds, sweep.resamples, seed=sweep.seed)

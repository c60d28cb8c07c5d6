"""Metrics that predict every neuroid: one score a layer and neuroid."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from dynamics import metrics
from dynamics.analysis import resampled
from dynamics.analysis.variables import Variables, first_halves, scheme_of
from dynamics.brains.targets import Target
from dynamics.metrics.banded import refit_banded
from dynamics.metrics.missing import by_pattern, check_handling, orders_within, places
from dynamics.metrics.null import columns_null
from dynamics.metrics.partition import refit_partition

Layers = Mapping[str, np.ndarray]

NULLS = ("conditional", "independent")

# Resamples of ridge where each of them takes long.
_FEW = 20

# Shuffled neuroids side by side; the decompositions of all weightings are done once for them.
_COLUMNS = 2**14

_RIDGE = {
    "layer_r": ("score", ("layer", "neuroid")),
    "layer_r2": ("r2", ("layer", "neuroid")),
    "layer_r2_corrected": ("r2_corrected", ("layer", "neuroid")),
    "fold_r": ("fold_score", ("layer", "split", "neuroid")),
    "r": ("best_score", ("neuroid",)),
    "r2": ("best_r2", ("neuroid",)),
    "layer": ("best_layer", ("split", "neuroid")),
    "alpha_edge": ("alpha_edge", ()),
}


def ridge(
    layers: Layers,
    target: Target,
    *,
    protocol: str = "default",
    alphas: Sequence[float] | None = None,
    missing: str = "error",
    seed: int = 0,
    resamples: int | None = None,
    keep: str | None = None,
    halves: np.ndarray | None = None,
    orders: np.ndarray | None = None,
) -> Variables:
    """Predict every neuroid from each layer, and from the best one, by ridge regression.

    Parameters
    ----------
    layers : mapping of str to array of shape (n, p)
        Activations.
    target : Target
        The brain target.
    protocol, alphas, seed
        As for `dynamics.metrics.encode`.
    missing
        As for `dynamics.metrics.encode`. With ``missing="mask"`` halves and shuffles are those of
        all stimuli, less what a neuroid lacks.
    resamples : int, optional
        How many of the sweep's resamples to use, the first ones, an even number; by default all
        by the default protocol for at most 500 neuroids, else 20, as each of them takes a third
        of the time of the scores (as long as those by ``"pepino"``).
    keep : str, optional
        ``"predictions"`` keeps what each layer predicts of every sound and neuroid from the folds
        without it, which takes layers x stimuli x neuroids x 4 bytes a step; ``"folds"`` the
        scores of single folds of more than 5,000 neuroids, which are not kept otherwise.
    halves, orders
        Resamples (see `dynamics.analysis.halves_of`) and shuffles.

    Returns
    -------
    Variables
        `score`, `r2` (layer, neuroid), `fold_score`, `best_score`, `best_r2`, `best_layer`,
        `alpha_edge` (); on request `prediction` (layer, stimulus, neuroid), float32.

    Raises
    ------
    ValueError
        As for `dynamics.metrics.encode`, and if predictions are to be kept of another protocol than
        the default, or where responses have gaps.
    """
    if keep not in (None, "folds"):
        _check_kept(keep, protocol, target)
    if has_gaps(target, missing):
        whole = partial(ridge, protocol=protocol, alphas=alphas, seed=seed, resamples=resamples)
        return _with_gaps(whole, layers, target, halves, orders)
    # Where every stimulus has a mean, repetitions that are missing are no gaps.
    missing = "mask" if np.isfinite(target.mean_response).all() else missing
    given: dict[str, Any] = {"protocol": protocol, "seed": seed, "missing": missing}
    if alphas is not None:
        given["alphas"] = np.asarray(alphas, float)
    if protocol != "tuckute":
        given["folds"] = target.folds
    found = metrics.encode(dict(layers), Y=target.response, **given)
    values: Variables = {
        name: (axes, np.asarray(found[key]))
        for key, (name, axes) in _RIDGE.items()
        if key in found and np.ndim(found[key]) == len(axes)
    }
    if keep == "predictions":
        values["prediction"] = ("layer", "stimulus", "neuroid"), _predictions(layers, target, given)
    many = protocol != "default" or target.response.shape[1] > resampled.MANY
    rows = first_halves(halves, (_FEW if many else None) if resamples is None else resamples)
    if rows is not None:
        values |= _ridge_again(protocol, layers, target, rows, given, values)
    if orders is not None:
        # Only one protocol looks at single repetitions.
        responses = target.response if protocol == "tuckute" else target.mean_response
        null = columns_null(
            lambda Y: metrics.encode(dict(layers), Y=Y.numpy(), **given),
            responses,
            orders,
            ("layer_r", "r"),
        )
        values |= _null(null["layer_r"], null["r"])
    return values


def _check_kept(keep: str | None, protocol: str, target: Target) -> None:
    if keep != "predictions":
        raise ValueError(f"keep is {keep!r}: there are 'predictions' and 'folds' to keep")
    if protocol != "default":
        raise ValueError(
            f"predictions are kept of the default protocol, not of {protocol!r}: give the metric a "
            "`label` of its own without it"
        )
    if not np.isfinite(target.mean_response).all():
        raise ValueError("predictions are kept of responses without gaps: leave out `keep`")


def _predictions(layers: Layers, target: Target, given: Mapping[str, Any]) -> np.ndarray:
    """Return out-of-fold predictions (layer, stimulus, neuroid) of each layer by itself.

    Its decompositions are those of its score, which are at hand (`dynamics.metrics.shared`).
    """
    each = [
        metrics.encode({name: X}, Y=target.response, **given)["prediction"]
        for name, X in layers.items()
    ]
    return np.stack([np.asarray(one) for one in each]).astype(np.float32)


def stimuli_of_kept(
    arguments: Mapping[str, Any], target: Target
) -> dict[str, tuple[str, npt.ArrayLike]]:
    """Return the names of the stimuli, where predictions of each are kept."""
    if arguments.get("keep") != "predictions":
        return {}
    return {"stimulus": ("stimulus", np.asarray(target.stimulus_names))}


def _ridge_again(
    protocol: str,
    layers: Layers,
    target: Target,
    rows: np.ndarray,
    given: Mapping[str, Any],
    values: Variables,
) -> Variables:
    """Fit every layer again on resamples of the stimuli."""
    features = list(layers.values())
    alphas, seed = given.get("alphas"), given["seed"]
    refits = resampled.ridge_refits(protocol, target, rows, alphas, seed, features)
    if target.together is not None:
        reliability = None
        if "r2_corrected" in values:
            reliability = np.asarray(metrics.noise_ceiling(target.response)["reliability"])
        scheme = scheme_of(correlation=True)
        refits = resampled.with_squares(refits, values["score"][1], scheme, reliability)
    return resampled.of_layers(refits, len(layers), target.together)


def banded(
    layers: Layers,
    target: Target,
    *,
    candidates: int = 100,
    seed: int = 0,
    resamples: int = 20,
    null_candidates: int | None = None,
    missing: str = "error",
    halves: np.ndarray | None = None,
    orders: np.ndarray | None = None,
) -> Variables:
    """Predict every neuroid from all layers together, one ridge penalty a layer.

    Parameters
    ----------
    layers : mapping of str to array of shape (n, p)
        Activations.
    target : Target
        The brain target.
    candidates, seed
        As for `dynamics.metrics.banded_ridge`.
    resamples : int
        How many of the sweep's halves of the stimuli to use, the first ones: an even number, as
        halves come in pairs. On each the model is fitted again with the weights of the layers
        chosen on all stimuli, see `dynamics.metrics.banded.refit_banded`.
    null_candidates : int, optional
        Weight vectors tried for shuffled responses, by default as many as `candidates`. With
        fewer (at least layers + 1) a null of many neuroids takes that much less time, but is the
        null of this smaller search: it may choose worse weights than the score's own search.
    missing : str
        As for `ridge`.
    halves, orders
        Resamples and shuffles.

    Returns
    -------
    Variables
        `score` (layer, neuroid): what each layer contributes, shares that add up to the part of
        variance explained; `total_score`, `total_r2` (neuroid); `weight` (layer, split, neuroid).

    Raises
    ------
    ValueError
        As for `dynamics.metrics.banded_ridge`.
    """
    if has_gaps(target, missing):
        whole = partial(banded, candidates=candidates, seed=seed, resamples=resamples,
                        null_candidates=null_candidates)  # fmt: skip
        return _with_gaps(whole, layers, target, halves, orders)
    K, features = metrics.grams(dict(layers))[1], list(layers.values())
    rows = first_halves(halves, resamples)
    fewer = None if null_candidates == candidates else null_candidates

    def fit(Y: np.ndarray, many: int = candidates) -> dict[str, np.ndarray]:
        return _neuroids_last(
            metrics.banded_ridge(K, Y, target.folds, candidates=many, seed=seed, features=features)
        )

    names = ("layer_share", "r", "r2", "weights")
    own = None if fewer is not None else orders
    found, null = _with_shuffles(fit, target.mean_response, own, names)
    if fewer is not None and orders is not None:
        _, null = _with_shuffles(partial(fit, many=fewer), target.mean_response, orders, names)
    values: Variables = {
        "score": (("layer", "neuroid"), found["layer_share"]),
        "total_score": (("neuroid",), found["r"]),
        "total_r2": (("neuroid",), found["r2"]),
        "weight": (("layer", "split", "neuroid"), found["weights"]),
    }
    if rows is not None:
        weights = found["weights"].transpose(1, 2, 0)

        def refits(some: np.ndarray) -> np.ndarray:
            again = refit_banded(
                K, target.mean_response, target.folds, weights, some, features=features
            )
            return np.asarray(again["layer_share"])

        values |= resampled.of_rows(refits, rows, target.together)
    if orders is not None:
        values |= _null(null["layer_share"], null["r"])
        values["null_total_score"] = values.pop("null_best_score")
    return values


def variance_partition(
    layers: Layers,
    target: Target,
    *,
    candidates: int = 30,
    seed: int = 0,
    resamples: int = 10,
    null: str = "conditional",
    missing: str = "error",
    halves: np.ndarray | None = None,
    orders: np.ndarray | None = None,
) -> Variables:
    """Divide r^2 into what a layer adds to the baseline model, what that adds, and the rest.

    Parameters
    ----------
    layers : mapping of str to array of shape (n, p)
        Activations.
    target : Target
        The brain target, with the features of the baseline.
    candidates, seed
        As for `dynamics.metrics.variance_partition`.
    resamples : int
        How many of the sweep's halves of the stimuli to use, the first ones: an even number, as
        halves come in pairs.
    null : str
        What is shuffled: ``"conditional"`` what the baseline's out-of-fold predictions leave of the
        responses (Freedman & Lane 1983, 10.1080/07350015.1983.10509354), so that the null has
        the relation to the baseline and none beyond; ``"independent"`` the responses, so that it
        has a relation to neither, and is narrower than `score` where the baseline predicts. For a
        layer that is a linear mixture of the baseline's features, 13 to 18 % of simulated scores
        had p <= .05 with it, 4 % with the conditional one (60 stimuli, baseline r2 .7 and .35).
    missing : str
        As for `ridge`.
    halves, orders
        Resamples and shuffles.

    Returns
    -------
    Variables
        (layer, neuroid): `score` and `unique_r2` (the same), `baseline_unique_r2`, `shared_r2`,
        `total_r2`, `layer_r2`; `baseline_r2` (neuroid).

    Raises
    ------
    ValueError
        If the target has no baseline, the null is unknown, and as for
        `dynamics.metrics.variance_partition`.
    """
    if null not in NULLS:
        raise ValueError(f"there is no null {null!r}: use one of {', '.join(NULLS)}")
    if target.baseline is None:
        raise ValueError(
            "variance_partition needs a baseline model to compare with: add the key `baseline`"
        )
    if has_gaps(target, missing):
        whole = partial(variance_partition, candidates=candidates, seed=seed,
                        resamples=resamples, null=null)  # fmt: skip
        return _with_gaps(whole, layers, target, halves, orders)
    baseline = target.baseline
    L = metrics.gram(baseline, name="baseline")
    rows, Y = first_halves(halves, resamples), target.mean_response
    parts = {
        "score": "unique_first",
        "unique_r2": "unique_first",
        "baseline_unique_r2": "unique_second",
        "shared_r2": "shared",
        "total_r2": "both",
        "layer_r2": "first",
        "baseline_r2": "second",
    }
    fixed = np.zeros_like(Y)
    if orders is not None and null == "conditional":
        alone = metrics.nested_ridge(L, Y, target.folds, features=[baseline])
        fixed = np.asarray(alone["prediction"])
    found, shuffles = [], []
    for name, X in layers.items():
        K = metrics.gram(X, name=name)

        def fit(rest: np.ndarray, K=K, X=X) -> dict[str, np.ndarray]:
            Y = rest + np.tile(fixed, (1, rest.shape[1] // fixed.shape[1]))
            return _neuroids_last(
                metrics.variance_partition(
                    K, L, Y, target.folds,
                    candidates=candidates, seed=seed, features=[X, baseline],
                )
            )  # fmt: skip

        one, shuffled = _with_shuffles(fit, Y - fixed, orders, [*parts.values(), "weights"])
        found.append(one)
        shuffles.append(shuffled["unique_first"])
    axes = ("layer", "neuroid")
    values: Variables = {
        name: (axes, np.stack([each[key] for each in found])) for name, key in parts.items()
    }
    values["baseline_r2"] = (("neuroid",), found[0]["second"])
    if rows is not None:

        def refits(layer: int) -> dict[str, np.ndarray]:
            X, weights = list(layers.values())[layer], found[layer]["weights"].transpose(1, 2, 0)
            features = [X, baseline]
            again = refit_partition(
                metrics.gram(X), L, Y, target.folds, weights, rows, features=features
            )
            return {"score": np.asarray(again)}

        values |= resampled.of_layers(refits, len(layers), target.together)
    if orders is not None:
        values["null_score"] = (("layer", "permutation", "neuroid"), np.stack(shuffles))
    return values


def _neuroids_last(found: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Bring `weights` (folds, v, layers) of a banded fit to the order of everything else."""
    arrays = {name: np.asarray(value) for name, value in found.items()}
    return arrays | {"weights": arrays["weights"].transpose(2, 0, 1)}


def has_gaps(target: Target, missing: str) -> bool:
    """Whether neuroids are to be scored each on the stimuli that it has.

    Without ``missing="mask"`` only where no more is missing than neuroids without any response,
    which have no score; what else is missing the metric then refuses by name.
    """
    check_handling(missing)
    lacking = ~np.isfinite(target.mean_response)
    some = lacking[:, ~lacking.all(0)].any()
    return bool(lacking.any() and (missing == "mask" or not some))


def _with_gaps(
    score: Callable[..., Variables],
    layers: Layers,
    target: Target,
    halves: np.ndarray | None,
    orders: np.ndarray | None,
) -> Variables:
    """Score every neuroid on the stimuli that it has, on the same halves and shuffles."""
    dims: dict[str, tuple[str, ...]] = {}
    pooled = resampled.Pool(target.together)

    def fit(rows: np.ndarray, members: np.ndarray) -> dict[str, np.ndarray]:
        part = replace(
            target,
            rows=target.rows[rows],
            response=target.response[rows][:, members],
            folds=target.folds[rows],
            subjects=target.subjects[members],
            together=pooled.among(members),
            baseline=None if target.baseline is None else target.baseline[rows],
        )
        own = None if halves is None else _halves_within(halves, rows, target.folds)
        found = score(
            {name: X[rows] for name, X in layers.items()},
            part,
            halves=own,
            orders=None if orders is None else orders_within(orders, rows),
        )
        found = pooled.take(found, members)
        dims.update({name: axes for name, (axes, _) in found.items()})
        return {name: values for name, (_, values) in found.items()}

    found = by_pattern(fit, target.response, target.folds)
    return {name: (dims[name], value.numpy()) for name, value in found.items()} | pooled.given()


def _halves_within(halves: np.ndarray, rows: np.ndarray, folds: np.ndarray) -> np.ndarray | None:
    """Halves counted among some of the stimuli; None where one of them would lack a fold."""
    place = places(rows, len(folds))
    within = np.where(halves < 0, -1, place[halves])
    for kept, half in zip(within, halves):
        if len(set(folds[half[(half >= 0) & (kept >= 0)]])) < len(set(folds.tolist())):
            return None
    return within


def _with_shuffles(
    fit: Callable[[np.ndarray], Mapping[str, np.ndarray]],
    Y: np.ndarray,
    orders: np.ndarray | None,
    names: Sequence[str],
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Fit responses (n, v) and their shuffles side by side: the arrays named, and their nulls."""
    itself = np.arange(len(Y))[None]
    every = itself if orders is None else np.concatenate([itself, orders])
    found = columns_null(lambda Y: fit(Y.numpy()), Y, every, names, columns=_COLUMNS)
    arrays = {name: value.numpy() for name, value in found.items()}
    return {k: value[0] for k, value in arrays.items()}, {
        k: value[1:] for k, value in arrays.items()
    }


def _null(by_layer, best) -> Variables:
    """Name nulls (permutation, layer, neuroid) and (permutation, neuroid)."""
    axes = ("layer", "permutation", "neuroid")
    return {
        "null_score": (axes, np.asarray(by_layer).swapaxes(0, 1)),
        "null_best_score": (("permutation", "neuroid"), np.asarray(best)),
    }

"""Probes of all layers of one step: activations and a task in, variables out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from dynamics.probes.fitting import Fit, Settings, fit
from dynamics.probes.mixing import fit_mix, mixed, mixed_layers
from dynamics.probes.resampling import DEFAULT, Resamples, draw, rescore
from dynamics.probes.scoring import METRICS, chroma_accuracy, class_scores
from dynamics.probes.task import Task

Variables = dict[str, tuple[tuple[str, ...], np.ndarray]]

ATTRS: dict[str, dict[str, Any]] = {
    "score": {"description": "score of a probe of the layer on test sounds", "units": "1"},
    "validation_score": {"description": "the same on validation sounds", "units": "1"},
    "fold_score": {"description": "score on each test fold", "units": "1"},
    "class_score": {
        "description": "recall of a class, or its average precision where that is the metric",
        "units": "1",
    },
    "chroma_score": {"description": "accuracy that forgives octave errors", "units": "1"},
    "hyperparameter": {"description": "penalty chosen on validation sounds", "units": "1"},
    "answer": {
        "description": "class that the probe of a layer answers to a sound when it tests, by its "
        "place among the classes; -1: it never tests",
        "units": "1",
    },
    "layer_mix_answer": {"description": "the same of the mix of layers", "units": "1"},
    "resample_score": {"description": "score on resampled sounds", "units": "1"},
    "layer_mix_score": {
        "description": "score of a probe of a learned, softmax-weighted mix of layers",
        "units": "1",
    },
    "layer_mix_resample_score": {
        "description": "score of the mix on resampled sounds, weights of the layers held fixed",
        "units": "1",
    },
    "layer_weight": {
        "description": "weight of the layer in the mix, mean over folds; NaN: of another width",
        "units": "1",
    },
}


def attrs(resamples: Resamples) -> dict[str, dict[str, Any]]:
    """Describe the variables of `probe_layers`, and what its resamples are.

    Parameters
    ----------
    resamples : Resamples
        What `dynamics.probes.resampling.draw` returned.

    Returns
    -------
    dict of str to dict
        Attributes by name of the variable.
    """
    again = ("resample_score", "layer_mix_resample_score")
    return ATTRS | {name: ATTRS[name] | resamples.attrs for name in again}


def probe_layers(
    layers: Mapping[str, np.ndarray],
    task: Task,
    *,
    kind: str = "ridge",
    mix: bool = True,
    resamples: int = DEFAULT,
    seed: int = 0,
    workers: int = 0,
    answers: bool = False,
) -> Variables:
    """Probe every layer, and a learned mix of them, for a task.

    Parameters
    ----------
    layers : mapping of str to array of shape (n, p)
        Activations to the task's sounds, from input to output; p may differ between layers.
    task : Task
        The task.
    kind : str
        A name in `dynamics.probes.PROBES`.
    mix : bool
        Whether to learn a mix of the layers as well.
    resamples : int
        On how many resamples of the sounds scores are computed again, see
        `dynamics.probes.resampling.draw`; 0 for none.
    seed : int
        Seed of the resamples, and of the initial weights of ``"mlp"``.
    workers : int
        Layers probed at a time; 0 for one a core. The numbers do not depend on it.
    answers : bool
        Whether the answer to every sound is returned as well.

    Returns
    -------
    dict of str to (dimensions, array)
        Variables as `ATTRS` describes them, without the step axis.
    """
    settings = Settings(kind, task.metric, task.multilabel, seed)
    parts = task.partitions
    again = draw(task, kind, resamples, seed=seed)
    jobs = [(X, part) for X in layers.values() for part in parts]
    # A thread a layer, and one for each product of matrices: more would wait for each other.
    with (
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(workers or os.cpu_count()) as pool,
    ):
        fits = list(pool.map(lambda job: fit(job[0], task.labels, job[1], settings), jobs))
        each = [fits[start : start + len(parts)] for start in range(0, len(fits), len(parts))]
        mixes: list[Fit] = []
        spaces: list[np.ndarray] = []
        weights = None
        if mix and len(layers) > 1:
            mixes, spaces, weights = _mixes(layers, task, settings)
        probed = [([X] * len(parts), own) for X, own in zip(layers.values(), each, strict=True)]
        probed += [(spaces, mixes)] if mixes else []
        resampled = list(
            pool.map(lambda job: rescore(job[0], task, job[1], again, settings), probed)
        )
    values: Variables = {
        "score": (("layer",), np.array([_folds(task, own).mean() for own in each])),
        "validation_score": (("layer",), np.array([_mean_validation(own) for own in each])),
        "class_score": (("layer", "class"), np.array([_classes(task, own) for own in each])),
        "hyperparameter": (("layer", "split"), np.array([[f.value for f in own] for own in each])),
    }
    if len(parts) > 1:
        values["fold_score"] = (("layer", "split"), np.array([_folds(task, own) for own in each]))
    if task.chroma is not None:
        values["chroma_score"] = (("layer",), np.array([_chroma(task, own) for own in each]))
    if answers:
        values["answer"] = (("layer", "sound"), np.array([_answers(task, own) for own in each]))
        if mixes:
            values["layer_mix_answer"] = (("sound",), _answers(task, mixes))
    if resamples:
        values["resample_score"] = (("layer", "resample"), np.array(resampled[: len(layers)]))
    if mixes:
        values["layer_mix_score"] = ((), np.array(_folds(task, mixes).mean()))
        values["layer_weight"] = (("layer",), np.asarray(weights))
        if resamples:
            values["layer_mix_resample_score"] = (("resample",), resampled[-1])
    return values


def _mixes(
    layers: Mapping[str, np.ndarray], task: Task, settings: Settings
) -> tuple[list[Fit], list[np.ndarray], np.ndarray | None]:
    """Fit a probe of the mix for every partition: the probes, what they see, and mean weights."""
    names = list(layers)
    places = mixed_layers([X.shape[1] for X in layers.values()])
    if len(places) < 2:
        return [], [], None
    chosen = [layers[names[place]] for place in places]
    found = [fit_mix(chosen, task.labels, part, settings) for part in task.partitions]
    spaces = [
        mixed(chosen, part.train, own)
        for part, (_, own) in zip(task.partitions, found, strict=True)
    ]
    weights = np.full(len(names), np.nan)
    weights[places] = np.mean([own for _, own in found], axis=0)
    return [own for own, _ in found], spaces, weights


def _folds(task: Task, fits: Sequence[Fit]) -> np.ndarray:
    """Score every test set, (n_parts,)."""
    metric = METRICS[task.metric]
    return np.array(
        [
            metric(own.decision, task.labels[part.test], np.ones((1, len(part.test))))[0]
            for own, part in _pairs(task, fits)
        ]
    )


def _chroma(task: Task, fits: Sequence[Fit]) -> float:
    assert task.chroma is not None
    scores = [
        chroma_accuracy(own.decision, task.labels[part.test], np.ones((1, len(part.test))),
                        task.chroma)[0]
        for own, part in _pairs(task, fits)
    ]  # fmt: skip
    return float(np.mean(scores))


def _classes(task: Task, fits: Sequence[Fit]) -> np.ndarray:
    """Score every class over all test sets in which it occurs, (n_classes,)."""
    rows = [class_scores(task.metric, own.decision, task.labels[part.test])
            for own, part in _pairs(task, fits)]  # fmt: skip
    table = np.array(rows)
    occurs = np.isfinite(table)
    total = np.where(occurs, table, 0).sum(0)
    return np.where(occurs.any(0), total / np.maximum(occurs.sum(0), 1), np.nan)


def _answers(task: Task, fits: Sequence[Fit]) -> np.ndarray:
    """Return the class that is answered to every sound, (n_sounds,), -1 where it never tests."""
    found = np.full(len(task.splits), -1, np.int16)
    for own, part in _pairs(task, fits):
        found[part.test] = own.decision.argmax(1)
    return found


def _mean_validation(fits: Sequence[Fit]) -> float:
    return float(np.mean([own.validation for own in fits]))


def _pairs(task: Task, fits: Sequence[Fit]):
    return zip(fits, task.partitions)

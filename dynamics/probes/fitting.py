"""Linear and small nonlinear probes, their penalty chosen on validation sounds alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier

from dynamics.probes.scoring import METRICS

_NEVER = -1e300
# So many systems are solved in less time than one decomposition takes.
_FEW = 5


Answers = Callable[[Sequence[float], np.ndarray, np.ndarray, np.ndarray, "Settings"], np.ndarray]


@dataclass(frozen=True)
class Probe:
    """A kind of probe.

    Attributes
    ----------
    hyperparameter : str
        What is chosen on the validation sounds.
    values : tuple of float
        What it is chosen from, strongest penalty first: that one wins ties.
    answers : callable
        ``answers(values, known, labels, unknown, settings)`` trains on `known` (n, p) with `labels`
        (n, n_classes) and returns decision values of `unknown`, (n_values, m, n_classes).
    """

    hyperparameter: str
    values: tuple[float, ...]
    answers: Answers


def ridge_answers(
    values: Sequence[float],
    known: np.ndarray,
    labels: np.ndarray,
    unknown: np.ndarray,
    settings: Settings,
) -> np.ndarray:
    """Train ridge regressions on ratings, or labels of +1 and -1; many penalties at once.

    The same as scikit-learn's `RidgeClassifier` for each penalty, one class against the others.

    Parameters
    ----------
    values : sequence of float
        Penalties alpha in |Y - X B|^2 + alpha |B|^2.
    known, labels, unknown
        As in `Probe`; `known` is centred.
    settings : Settings
        Not looked at.

    Returns
    -------
    array of shape (n_values, m, n_classes)
        Decision values.
    """
    X, Y = known, np.where(labels, 1.0, -1.0) if labels.dtype == bool else labels
    mean = Y.mean(0)
    if len(X) <= X.shape[1]:
        K, A, M = X @ X.T, Y - mean, unknown @ X.T
    else:
        K, A, M = X.T @ X, X.T @ (Y - mean), unknown
    if len(values) <= _FEW:
        solved = [_solve(K, A, alpha) for alpha in values]
    else:
        s, V = np.linalg.eigh(K)
        s, A, M = np.maximum(s, 0), V.T @ A, M @ V
        solved = [A / (s + alpha)[:, None] for alpha in values]
    found = np.stack([M @ each + mean for each in solved])
    if labels.dtype == bool:
        found[..., ~labels.any(0)] = _NEVER
    return found


def _solve(K: np.ndarray, A: np.ndarray, alpha: float) -> np.ndarray:
    """Solve (K + alpha I) B = A; K is symmetric, and nowhere negative but for rounding."""
    shifted = K.copy()
    shifted.flat[:: len(K) + 1] += alpha
    return linalg.solve(shifted, A, assume_a="pos", overwrite_a=True, check_finite=False)


def _one_by_one(make: Callable[[float, Settings], Any]) -> Answers:
    """Make answers of a classifier of scikit-learn, trained anew for every penalty."""

    def answers(
        values: Sequence[float],
        known: np.ndarray,
        labels: np.ndarray,
        unknown: np.ndarray,
        settings: Settings,
    ) -> np.ndarray:
        occurs = labels.any(0)
        if settings.multilabel:
            occurs &= ~labels.all(0)
        found = np.full((len(values), len(unknown), labels.shape[1]), _NEVER)
        y = labels[:, occurs].astype(int) if settings.multilabel else labels.argmax(1)
        for number, value in enumerate(values):
            model = make(value, settings)
            with warnings.catch_warnings():
                # Unfinished after so many iterations is one more candidate to validate.
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.fit(known, y)
            decision = getattr(model, "decision_function", None) or model.predict_proba
            scores = decision(unknown)
            if scores.ndim == 1:
                scores = scores[:, None] if settings.multilabel else np.stack([-scores, scores], 1)
            found[number][:, occurs] = scores
        return found

    return answers


def _logistic(strength: float, settings: Settings) -> Any:
    model = LogisticRegression(C=strength, max_iter=300)
    return OneVsRestClassifier(model) if settings.multilabel else model


def _mlp(alpha: float, settings: Settings) -> Any:
    return MLPClassifier((128,), alpha=alpha, max_iter=100, random_state=settings.seed)


def knn_answers(
    values: Sequence[float],
    known: np.ndarray,
    labels: np.ndarray,
    unknown: np.ndarray,
    settings: Settings,
) -> np.ndarray:
    """Let the nearest training sounds vote, each as much (Euclidean distance).

    Parameters
    ----------
    values : sequence of float
        How many neighbours; all there are, where that is fewer.
    known, labels, unknown
        As in `Probe`.
    settings : Settings
        Not looked at.

    Returns
    -------
    array of shape (n_values, m, n_classes)
        Share of the neighbours that have each class, or their mean ratings.
    """
    squares = (unknown**2).sum(1)[:, None] - 2 * unknown @ known.T + (known**2).sum(1)
    nearest = np.argsort(squares, axis=1, kind="stable")[:, : int(max(values))]
    votes = np.cumsum(labels[nearest], axis=1, dtype=float)
    counts = [min(int(value), nearest.shape[1]) for value in values]
    return np.stack([votes[:, count - 1] / count for count in counts])


REGRESSIONS = ("ridge", "knn")
"""Kinds of probes that tell ratings as well as classes."""

PROBES: dict[str, Probe] = {
    # Features are standardised, but strongly correlated: small penalties are often the best.
    "ridge": Probe("alpha", tuple(10.0**p for p in range(5, -5, -1)), ridge_answers),
    "logistic": Probe("C", tuple(10.0**p for p in range(-5, 2)), _one_by_one(_logistic)),
    "knn": Probe("k", (40.0, 20.0, 10.0, 5.0, 3.0, 1.0), knn_answers),
    "mlp": Probe("alpha", (100.0, 10.0, 1.0, 0.01), _one_by_one(_mlp)),
}


@dataclass(frozen=True)
class Partition:
    """Rows of a task's sounds that train, choose and test a probe.

    Attributes
    ----------
    choices : tuple of (array of int, array of int)
        What the penalty is chosen by: rows to train and rows to validate, once or several times.
    train : array of int
        Rows that train in the end, with the chosen penalty: all of `choices`.
    test : array of int
        Rows that are in none of the others.
    """

    choices: tuple[tuple[np.ndarray, np.ndarray], ...]
    train: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Settings:
    """How probes are fitted.

    Attributes
    ----------
    kind : str
        A name in `PROBES`.
    metric : str
        A name in `dynamics.probes.scoring.METRICS`.
    multilabel : bool
        Whether a sound can have any number of classes.
    seed : int
        Seed of the initial weights of ``"mlp"``.
    """

    kind: str = "ridge"
    metric: str = "accuracy"
    multilabel: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Fit:
    """A probe with its penalty chosen.

    Attributes
    ----------
    decision : array of shape (n_test, n_classes)
        Decision values of the test sounds.
    value : float
        The chosen hyperparameter.
    validation : float
        Its score on the validation sounds.
    """

    decision: np.ndarray
    value: float
    validation: float


def fit(
    X: np.ndarray, labels: np.ndarray, part: Partition, settings: Settings | None = None
) -> Fit:
    """Choose a penalty on validation sounds, then train on these and the training sounds.

    Features are standardised by the sounds that train.

    Parameters
    ----------
    X : array of shape (n, p)
        Activations.
    labels : array of shape (n, n_classes), bool
        True classes; those of the test sounds are not looked at.
    part : Partition
        Rows.
    settings : Settings, optional
        How; by default a ridge classifier chosen by accuracy.

    Returns
    -------
    Fit
        With decision values of the test sounds.
    """
    settings = settings or Settings()
    scores = validation_scores([X] * len(part.choices), labels, part, settings)
    best = int(scores.argmax())
    value = PROBES[settings.kind].values[best]
    return Fit(decide(X, labels, part, value, settings), value, float(scores[best]))


def validation_scores(
    spaces: Sequence[np.ndarray], labels: np.ndarray, part: Partition, settings: Settings
) -> np.ndarray:
    """Score every penalty on validation sounds.

    Parameters
    ----------
    spaces : sequence of array of shape (n, p)
        Activations, one space for each of `part.choices`.
    labels, part, settings
        As in `fit`.

    Returns
    -------
    array of shape (n_values,)
        Mean over `part.choices`, each by its number of validation sounds.
    """
    probe = PROBES[settings.kind]
    table = []
    for X, (train, valid) in zip(spaces, part.choices):
        known, unknown = _standardised(X, train, valid)
        ones = np.ones((1, len(valid)))
        answers = probe.answers(probe.values, known, labels[train], unknown, settings)
        metric = METRICS[settings.metric]
        table.append([metric(answer, labels[valid], ones)[0] for answer in answers])
    return np.average(table, axis=0, weights=[len(valid) for _, valid in part.choices])


def decide(
    X: np.ndarray, labels: np.ndarray, part: Partition, value: float, settings: Settings
) -> np.ndarray:
    """Train with one penalty on all but the test sounds; return decision values of those.

    Parameters
    ----------
    X, labels, part, settings
        As in `fit`.
    value : float
        The hyperparameter.

    Returns
    -------
    array of shape (n_test, n_classes)
        Decision values.
    """
    known, unknown = _standardised(X, part.train, part.test)
    return PROBES[settings.kind].answers([value], known, labels[part.train], unknown, settings)[0]


def _standardised(
    X: np.ndarray, train: np.ndarray, other: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    known, unknown = X[train].astype(float), X[other].astype(float)
    mean, variance = known.mean(0), known.var(0)
    # What does not vary but for rounding is left at its scale.
    least = (len(known) * np.finfo(float).eps * mean) ** 2
    scale = np.sqrt(np.where(variance > least, variance, 1.0))
    return (known - mean) / scale, (unknown - mean) / scale

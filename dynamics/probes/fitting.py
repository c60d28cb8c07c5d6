"""Linear and small nonlinear probes, their penalty chosen on validation sounds alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from dynamics.probes.scoring import METRICS

_NEVER = -1e300


@dataclass(frozen=True)
class Probe:
    """A kind of probe.

    Attributes
    ----------
    hyperparameter : str
        What is chosen on the validation sounds.
    values : tuple of float
        What it is chosen from, strongest penalty first: that one wins ties.
    make : callable
        ``make(value, multilabel, seed)`` returns a classifier of scikit-learn.
    """

    hyperparameter: str
    values: tuple[float, ...]
    make: Callable[[float, bool, int], Any]


def _ridge(alpha: float, multilabel: bool, seed: int) -> Any:
    return RidgeClassifier(alpha=alpha, solver="cholesky")


def _logistic(strength: float, multilabel: bool, seed: int) -> Any:
    model = LogisticRegression(C=strength, max_iter=300)
    return OneVsRestClassifier(model) if multilabel else model


def _mlp(alpha: float, multilabel: bool, seed: int) -> Any:
    return MLPClassifier((128,), alpha=alpha, max_iter=100, random_state=seed)


PROBES: dict[str, Probe] = {
    # Features are standardised, but strongly correlated: small penalties are often the best.
    "ridge": Probe("alpha", tuple(10.0**p for p in range(5, -5, -1)), _ridge),
    "logistic": Probe("C", tuple(10.0**p for p in range(-5, 2)), _logistic),
    "mlp": Probe("alpha", (100.0, 10.0, 1.0, 0.01), _mlp),
}


@dataclass(frozen=True)
class Partition:
    """Rows of a task's sounds that train, choose and test a probe.

    Attributes
    ----------
    train, valid, test : array of int
        Places in the stimulus set; no row is in two of them.
    """

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


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
    X: np.ndarray,
    labels: np.ndarray,
    part: Partition,
    *,
    kind: str = "ridge",
    metric: str = "accuracy",
    multilabel: bool = False,
    seed: int = 0,
) -> Fit:
    """Fit a probe on training sounds for every penalty, and keep the best on validation sounds.

    Features are standardised by the training sounds. As in HEAR (Turian et al. 2022,
    arXiv 2203.03022) validation sounds choose and do not train.

    Parameters
    ----------
    X : array of shape (n, p)
        Activations.
    labels : array of shape (n, n_classes), bool
        True classes; those of the test sounds are not looked at.
    part : Partition
        Rows.
    kind : str
        A name in `PROBES`.
    metric : str
        A name in `dynamics.probes.scoring.METRICS`.
    multilabel : bool
        Whether a sound can have any number of classes.
    seed : int
        Seed of the initial weights of ``"mlp"``.

    Returns
    -------
    Fit
        Decision values of the test sounds.
    """
    scaler = StandardScaler().fit(np.asarray(X[part.train], float))
    train, valid, test = (scaler.transform(X[rows]) for rows in (part.train, part.valid, part.test))
    probe, known = PROBES[kind], labels[part.train]
    best: tuple[float, float, Any] | None = None
    ones = np.ones((1, len(part.valid)))
    for value in probe.values:
        model = _trained(probe.make(value, multilabel, seed), train, known, multilabel)
        score = float(METRICS[metric](model(valid), labels[part.valid], ones)[0])
        if best is None or score > best[1]:
            best = value, score, model
    assert best is not None
    return Fit(best[2](test), best[0], best[1])


def _trained(
    model: Any, X: np.ndarray, labels: np.ndarray, multilabel: bool
) -> Callable[[np.ndarray], np.ndarray]:
    """Train a classifier; return its decision values for all classes, also those it never saw."""
    occurs = labels.any(0)
    if multilabel:
        occurs &= ~labels.all(0)
    with warnings.catch_warnings():
        # A probe of 300 iterations is one of the candidates; validation sounds judge it.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, labels[:, occurs].astype(int) if multilabel else labels.argmax(1))

    def decide(X: np.ndarray) -> np.ndarray:
        method = getattr(model, "decision_function", None) or model.predict_proba
        values = method(X)
        if values.ndim == 1:
            values = values[:, None] if multilabel else np.column_stack([-values, values])
        decision = np.full((len(X), labels.shape[1]), _NEVER)
        decision[:, occurs] = values
        return decision

    return decide

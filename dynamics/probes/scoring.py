"""Scores of probes: accuracy, mean average precision, pitch and chroma accuracy, with weights.

A row of weights says how often every test sound counts: ones for the score itself, the counts of
a bootstrap for a resample. All rows are scored at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

Metric = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

SEMITONES = 12


def accuracy(decision: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Part of the sounds whose highest decision value is at one of their own classes.

    Parameters
    ----------
    decision : array of shape (n, n_classes)
        Decision values.
    labels : array of shape (n, n_classes), bool
        True classes.
    weights : array of shape (n_rows, n)
        How often each sound counts.

    Returns
    -------
    array of shape (n_rows,)
        Between 0 and 1.
    """
    right = labels[np.arange(len(decision)), decision.argmax(1)]
    return (weights @ right.astype(float)) / weights.sum(1)


def mean_average_precision(
    decision: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Average precision of every class, averaged over the classes that occur (macro, as in HEAR).

    Parameters
    ----------
    decision, labels, weights
        As in `accuracy`.

    Returns
    -------
    array of shape (n_rows,)
        Between 0 and 1; a class without a positive sound in a row is left out of its mean.
    """
    each = average_precision(decision, labels, weights)
    occurs = np.isfinite(each)
    return np.where(occurs, each, 0).sum(1) / np.maximum(occurs.sum(1), 1)


def average_precision(decision: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Average precision: sum over thresholds of (recall_k - recall_{k-1}) precision_k.

    Parameters
    ----------
    decision, labels, weights
        As in `accuracy`.

    Returns
    -------
    array of shape (n_rows, n_classes)
        NaN where a class has no positive sound of positive weight.
    """
    # As of scikit-learn, but for the last bit, for all rows at once, and without its warnings.
    found = np.full((len(weights), labels.shape[1]), np.nan)
    for column in range(labels.shape[1]):
        order = np.argsort(-decision[:, column], kind="stable")
        values, ordered = decision[order, column], weights[:, order]
        # Sounds of equal value pass a threshold together.
        ends = np.append(values[1:] != values[:-1], True)
        hits = np.cumsum(ordered * labels[order, column], axis=1)[:, ends]
        seen = np.cumsum(ordered, axis=1)[:, ends]
        precision = hits / np.maximum(seen, np.finfo(float).tiny)
        total = hits[:, -1]
        some = total > 0
        gained = np.diff(hits, axis=1, prepend=0)
        found[some, column] = (precision * gained).sum(1)[some] / total[some]
    return found


def chroma_accuracy(
    decision: np.ndarray, labels: np.ndarray, weights: np.ndarray, chroma: np.ndarray
) -> np.ndarray:
    """Accuracy that forgives octave errors: the chosen class may be any of the same chroma.

    Parameters
    ----------
    decision, labels, weights
        As in `accuracy`.
    chroma : array of shape (n_classes,)
        Chroma of each class, such as its MIDI pitch modulo 12.

    Returns
    -------
    array of shape (n_rows,)
        Between 0 and 1.
    """
    right = chroma[decision.argmax(1)] == chroma[labels.argmax(1)]
    return (weights @ right.astype(float)) / weights.sum(1)


def r2(decision: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Variance explained, 1 - squared errors over squared deviations, mean over ratings.

    Parameters
    ----------
    decision, labels : array of shape (n, n_ratings)
        Predicted and true ratings.
    weights : array of shape (n_rows, n)
        As in `accuracy`.

    Returns
    -------
    array of shape (n_rows,)
        At most 1, and below 0 where the mean of the test sounds would do better.
    """
    return each_r2(decision, labels, weights).mean(1)


def each_r2(decision: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """As `r2`, of every rating: array of shape (n_rows, n_ratings), 0 where it does not vary."""
    share = weights / weights.sum(1, keepdims=True)
    spread = share @ labels**2 - (share @ labels) ** 2
    off = share @ (labels - decision) ** 2
    varies = spread > 1e-12 * np.maximum(share @ labels**2, 1e-300)
    return np.where(varies, 1 - off / np.where(varies, spread, 1.0), 0.0)


def pearson(decision: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Pearson r of predicted and true ratings, mean over ratings; arguments as of `r2`."""
    return each_pearson(decision, labels, weights).mean(1)


def each_pearson(decision: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """As `pearson`, of every rating: (n_rows, n_ratings), 0 where either does not vary."""
    share = weights / weights.sum(1, keepdims=True)
    one, other = (values - values.mean(0) for values in (decision, labels))
    means = [share @ values for values in (one, other)]
    both = share @ (one * other) - means[0] * means[1]
    powers = [share @ values**2 - mean**2 for values, mean in zip((one, other), means)]
    scale = np.sqrt(np.maximum(powers[0], 0) * np.maximum(powers[1], 0))
    varies = scale > 1e-12
    return np.where(varies, both / np.where(varies, scale, 1.0), 0.0)


REGRESSION = {"r2": each_r2, "pearson": each_pearson}

METRICS: dict[str, Metric] = {
    "r2": r2,
    "pearson": pearson,
    "accuracy": accuracy,
    "mAP": mean_average_precision,
    "pitch accuracy": accuracy,
}


def class_scores(metric: str, decision: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Score every class (or rating) by itself: recall, or the metric where that can be of one.

    Parameters
    ----------
    metric : str
        A name in `METRICS`.
    decision, labels
        As in `accuracy`.

    Returns
    -------
    array of shape (n_classes,)
        NaN for a class without a test sound.
    """
    if metric in REGRESSION:
        return REGRESSION[metric](decision, labels, np.ones((1, len(labels))))[0]
    if metric == "mAP":
        return average_precision(decision, labels, np.ones((1, len(labels))))[0]
    right = labels[np.arange(len(decision)), decision.argmax(1)]
    count = labels.sum(0)
    hit = (labels & right[:, None]).sum(0)
    return np.where(count > 0, hit / np.maximum(count, 1), np.nan)


def chance(metric: str, train: np.ndarray, test: np.ndarray) -> float:
    """Score of the best constant answer, which has seen the training labels and no sound.

    Parameters
    ----------
    metric : str
        A name in `METRICS`.
    train, test : array of shape (n, n_classes), bool
        Labels.

    Returns
    -------
    float
        Rate of the most frequent class of the training sounds among the test sounds; for mAP the
        mean rate of positives.
    """
    answer = np.broadcast_to(train.mean(0), test.shape)
    if metric == "mAP":
        answer = np.zeros(test.shape)
    return float(METRICS[metric](answer, test, np.ones((1, len(test))))[0])


def bootstrap_counts(
    parts: Sequence[np.ndarray], *, n: int, resamples: int, seed: int
) -> np.ndarray:
    """Draw test sounds with replacement, within every test set, the same for all steps and layers.

    Parameters
    ----------
    parts : sequence of array of int
        Rows of each test set; a row is in one of them at most.
    n : int
        Sounds of the task.
    resamples : int
        How many resamples.
    seed : int
        Seed of the draws.

    Returns
    -------
    array of shape (resamples, n)
        How often each sound was drawn.
    """
    rng = np.random.default_rng(seed)
    counts = np.zeros((resamples, n))
    for rows in parts:
        drawn = rng.integers(len(rows), size=(resamples, len(rows)))
        for number, places in enumerate(drawn):
            counts[number, rows] = np.bincount(places, minlength=len(rows))
    return counts


def each_chroma(names: Sequence[str]) -> Iterator[int]:
    """Yield the chroma of classes that are MIDI pitches."""
    for name in names:
        yield int(float(name)) % SEMITONES

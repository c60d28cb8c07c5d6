"""A learned mix of layers, as downstream studies of speech and audio models report it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from dynamics.probes.fitting import (
    PROBES,
    Fit,
    Partition,
    Settings,
    decide,
    validation_scores,
)

PENALTIES = (1e-1, 1e-2, 1e-3)
_ITERATIONS = 20


def mixed_layers(widths: Sequence[int]) -> list[int]:
    """Return which layers can be mixed: those of the most frequent width, the last one in doubt.

    Parameters
    ----------
    widths : sequence of int
        Features of every layer.

    Returns
    -------
    list of int
        Places of the layers.
    """
    counts = Counter(widths)
    width = max(counts, key=lambda w: (counts[w], w == widths[-1]))
    return [place for place, own in enumerate(widths) if own == width]


def fit_mix(
    layers: Sequence[np.ndarray],
    labels: np.ndarray,
    part: Partition,
    settings: Settings | None = None,
) -> tuple[Fit, np.ndarray]:
    """Fit a probe on a softmax-weighted sum of layers.

    As in SUPERB (Yang et al. 2021, doi:10.21437/Interspeech.2021-1775) a sound's features are
    sum_l w_l z_l with z_l layer l, standardised by the training sounds, and w the softmax of one
    number a layer. The weights are learned on the training sounds together with a linear
    classifier of the mix (scaled to unit variance), by cross-entropy plus a penalty on the
    classifier's squared weights, from equal weights and zeros on, so that no random number is
    involved. That classifier is thrown away: the
    probe proper is fitted on the mix as on any layer. Its penalty and that of the mix (of
    `PENALTIES`) are chosen together on the validation sounds; where the partition chooses several
    times, by the first of them, because a mix takes as long as a layer's probe ten times over.

    Parameters
    ----------
    layers : sequence of array of shape (n, p)
        Activations of layers of one width.
    labels, part, settings
        As in `dynamics.probes.fitting.fit`.

    Returns
    -------
    Fit
        Of the mix.
    weights : array of shape (n_layers,)
        What the layers are mixed with; they sum to one.
    """
    settings = settings or Settings()
    first = replace(part, choices=part.choices[:1])
    ((train, _),) = first.choices
    scores = []
    for penalty in PENALTIES:
        X, _ = _mix(layers, labels, train, penalty, settings)
        scores.append(validation_scores([X], labels, first, settings))
    table = np.array(scores)
    row, column = np.unravel_index(table.argmax(), table.shape)
    X, weights = _mix(layers, labels, part.train, PENALTIES[row], settings)
    value = PROBES[settings.kind].values[column]
    return Fit(decide(X, labels, part, value, settings), value, float(table.max())), weights


def mixed(layers: Sequence[np.ndarray], train: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mix layers, each standardised by the training sounds.

    Parameters
    ----------
    layers : sequence of array of shape (n, p)
        Activations of layers of one width.
    train : array of int
        Rows of the training sounds.
    weights : array of shape (n_layers,)
        What the layers are mixed with.

    Returns
    -------
    array of shape (n, p), float32
        What `fit_mix` fits its probe on.
    """
    Z = torch.stack([_standardised(X, train) for X in layers])
    return torch.tensordot(torch.as_tensor(weights, dtype=Z.dtype), Z, dims=1).numpy()


def _mix(
    layers: Sequence[np.ndarray],
    labels: np.ndarray,
    train: np.ndarray,
    penalty: float,
    settings: Settings,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mix of all sounds, learned on some, and its weights."""
    Z = torch.stack([_standardised(X, train) for X in layers])
    w = layer_weights(Z[:, train], labels[train], penalty, multilabel=settings.multilabel)
    return torch.tensordot(w, Z, dims=1).numpy(), w.double().numpy()


def layer_weights(
    Z: torch.Tensor, labels: np.ndarray, penalty: float, *, multilabel: bool = False
) -> torch.Tensor:
    """Learn by how much each layer should count.

    Parameters
    ----------
    Z : tensor of shape (n_layers, n, p)
        Standardised activations of training sounds.
    labels : array of shape (n, n_classes), bool
        Their classes.
    penalty : float
        Factor on the mean squared weight of the classifier.
    multilabel : bool
        Whether a sound can have any number of classes.

    Returns
    -------
    tensor of shape (n_layers,)
        Positive, sum one.
    """
    target = torch.from_numpy(labels.astype("float32"))
    n_classes = target.shape[1]
    logits = torch.zeros(len(Z), requires_grad=True)
    head = torch.zeros(Z.shape[2], n_classes, requires_grad=True)
    bias = torch.zeros(n_classes, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [logits, head, bias], max_iter=_ITERATIONS, line_search_fn="strong_wolfe"
    )
    functional = torch.nn.functional
    loss_of: Callable[..., torch.Tensor] = (
        functional.binary_cross_entropy_with_logits if multilabel else functional.cross_entropy
    )
    if labels.dtype != bool:  # ratings, of one scale
        target = (target - target.mean(0)) / (target.std(0) + 1e-12)
        loss_of = functional.mse_loss

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        mix = torch.tensordot(torch.softmax(logits, 0), Z, dims=1)
        # At one scale, or the penalty would favour single layers: mixing makes features smaller.
        mix = mix / mix.square().mean().sqrt()
        loss = loss_of(mix @ head + bias, target) + penalty * (head**2).sum() / n_classes
        loss.backward()
        return loss

    optimiser.step(closure)
    return torch.softmax(logits.detach(), 0)


def _standardised(X: np.ndarray, train: np.ndarray) -> torch.Tensor:
    X = np.asarray(X, float)
    deviation = X[train].std(0)
    scaled = (X - X[train].mean(0)) / np.where(deviation > 0, deviation, 1)
    return torch.from_numpy(scaled.astype("float32"))

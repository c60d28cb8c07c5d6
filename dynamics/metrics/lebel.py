"""Encoding of stories in fMRI as in LeBel et al. 2023, to the letter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from dynamics.metrics.correlation import pearson, standardise
from dynamics.metrics.delays import delayed
from dynamics.metrics.kernels import Array, activations, as_tensor, like, responses
from dynamics.metrics.validation import takes

TRIM = (10, 5)
DELAYS = (1, 2, 3, 4)
ALPHAS = np.logspace(1, 3, 10)
# Singular values below this are left out.
_SMALLEST = 1e-10
# Numbers of predictions that are held at a time.
_ENTRIES = 2**27


@takes(X="courses", Y="courses")
def lebel_ridge(
    X: Sequence[Array],
    Y: Sequence[Array],
    *,
    test: Sequence[int],
    alphas: Array | None = None,
    draws: int = 50,
    chunk: int = 40,
    chunks: int = 125,
    choose: str = "r",
    seed: int = 0,
) -> dict[str, Any]:
    """Ridge regression of stories by chunks held out at random.

    Activations at the times of the volumes (`dynamics.metrics.lanczos` with ``unit=False``) lose
    their first 10 and last 5 volumes and are z-scored within a story, as responses are; stories are
    put after another and *then* delayed by 1 to 4 volumes, so that the delays of a story's first
    volumes reach into the story before. Each voxel's penalty is the one of 10 (alpha from 10 to
    1,000; it is alpha^2 that is added to the squared singular values) with the best mean score over
    50 draws, each of which holds out 125 chunks of 40 volumes. There is no intercept.
    LeBel et al. 2023, Sci Data 10:555, 10.1038/s41597-023-02437-z.

    Parameters
    ----------
    X : sequence of array of shape (t_s + 15, p)
        Activations to each story at each volume.
    Y : sequence of array of shape (t_s, v)
        Responses to each story, without the first 10 and last 5 volumes; averaged over repetitions.
    test : sequence of int
        Stories that are never trained on, in the study one that was heard several times.
    alphas : array of shape (a,), optional
        Other penalties.
    draws, chunk, chunks : int
        Draws, volumes in a chunk, chunks that a draw holds out. What does not fill a chunk at the
        end is never held out.
    choose : str
        By what alpha is chosen: ``"r"``, or ``"r2"``, the signed root of the variance explained,
        beside a response variance halfway between 1 and its own, which the code has as its default.
    seed : int
        Seed of the draws.

    Returns
    -------
    dict
        ``r`` (v,) over all volumes of the test stories; ``alpha`` (v,); ``draw_score`` (a, v): mean
        over draws; ``prediction``: array (t, v) of the test stories after another.

    Raises
    ------
    ValueError
        If lengths do not fit, there is no story to train on or to test, or chunks leave nothing to
        train on.
    """
    for number, (x, y) in enumerate(zip(X, Y)):
        if len(x) != len(y) + sum(TRIM):
            raise ValueError(
                f"story {number} has {len(x)} volumes of activations and {len(y)} of responses: "
                f"give {sum(TRIM)} more of activations, which are cut"
            )
    held = sorted(set(test))
    train = [s for s in range(len(X)) if s not in held]
    if len(X) != len(Y) or not train or not held or held[-1] >= len(X) or held[0] < 0:
        raise ValueError(
            f"{len(X)} stories of activations, {len(Y)} of responses and test stories {held}: give "
            "the same stories, some of them to train on and some to test"
        )
    features = {
        kind: _features([as_tensor(X[s]) for s in stories])
        for kind, stories in (("train", train), ("test", held))
    }
    known = torch.cat([standardise(responses(Y[s]))[0] for s in train])
    truth = torch.cat([standardise(responses(Y[s]))[0] for s in held])
    grid = torch.as_tensor(np.asarray(ALPHAS if alphas is None else alphas, float)).to(known)
    score = _draw_scores(features["train"], known, grid, (draws, chunk, chunks), choose, seed)
    chosen = grid[score.argmax(0)]
    fitted = _Ridge(features["train"], known)
    prediction = fitted.predict(features["test"], chosen)
    out = {
        "r": torch.nan_to_num(pearson(prediction, truth)),
        "alpha": chosen,
        "draw_score": score,
        "prediction": prediction,
    }
    return {name: like(value, X[0], Y[0]) for name, value in out.items()}


def _features(stories: list[torch.Tensor]) -> torch.Tensor:
    first, last = TRIM
    parts = [standardise(activations(x, name="X")[first : len(x) - last])[0] for x in stories]
    return delayed(torch.cat(parts), DELAYS)


class _Ridge:
    """Ridge without an intercept for any alpha, from the eigenvectors of X'X."""

    def __init__(self, X: torch.Tensor, Y: torch.Tensor):
        squares, V = torch.linalg.eigh(X.T @ X)
        kept = squares.clamp(min=0).sqrt() > max(
            _SMALLEST, float(squares[-1].clamp(min=0)) ** 0.5 * 1e-8
        )
        self.V, self.squares = V[:, kept], squares[kept]
        self.z = self.V.T @ (X.T @ Y)

    def predict(self, X: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        """Predictions (t, v) with an alpha, one or (v,)."""
        return (X @ self.V) @ (self.z / (self.squares[:, None] + alpha.square()))


def _draw_scores(
    X: torch.Tensor,
    Y: torch.Tensor,
    grid: torch.Tensor,
    drawn: tuple[int, int, int],
    choose: str,
    seed: int,
) -> torch.Tensor:
    """Mean score (alphas, v) over draws that each hold out some chunks."""
    if choose not in ("r", "r2"):
        raise ValueError(f"alpha cannot be chosen by {choose!r}: use 'r' or 'r2'")
    draws, chunk, chunks = drawn
    pieces = len(X) // chunk
    if draws < 1 or not 0 < chunks < pieces + (len(X) % chunk > 0):
        raise ValueError(
            f"{len(X)} volumes to train on make {pieces} chunks of {chunk}, of which {chunks} "
            "would be held out: hold out fewer, at least 1"
        )
    rng = np.random.default_rng(seed)
    total = Y.new_zeros(len(grid), Y.shape[1])
    for _ in range(draws):
        out = np.sort(rng.permutation(pieces)[:chunks])
        held = torch.zeros(len(X), dtype=torch.bool)
        held[torch.as_tensor((out[:, None] * chunk + np.arange(chunk)).ravel())] = True
        held = held.to(X.device)
        fitted = _Ridge(X[~held], Y[~held])
        for a, alpha in enumerate(grid):
            total[a] += _score(fitted, X[held], Y[held], alpha, choose)
    return total / draws


def _score(
    fitted: _Ridge, X: torch.Tensor, Y: torch.Tensor, alpha: torch.Tensor, choose: str
) -> torch.Tensor:
    out = []
    width = max(_ENTRIES // len(X), 1)
    rotated = X @ fitted.V
    for first in range(0, Y.shape[1], width):
        some = slice(first, first + width)
        predicted = rotated @ (fitted.z[:, some] / (fitted.squares[:, None] + alpha.square()))
        if choose == "r":
            out.append(torch.nan_to_num(pearson(predicted, Y[:, some])))
            continue
        left = (Y[:, some] - predicted).var(0, correction=0)
        explained = 1 - left / ((1 + Y[:, some].var(0, correction=0)) / 2)
        out.append(explained.abs().sqrt() * explained.sign())
    return torch.cat(out)

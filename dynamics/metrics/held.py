"""Splits of one layer that hold for any penalty.

Gram matrices serve where they can, and that is nearly always. Where a penalty falls below what they
hold, and directions do too, the splits are decomposed again, by singular values.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from dynamics.metrics.factorisation import (
    HELD,
    LOST,
    Factor,
    Splits,
    centred_columns,
    compact,
    decompose,
    whole_space,
)
from dynamics.metrics.inner_cv import Responses, inner_scores, score_at
from dynamics.metrics.kernels import Array, as_tensor, same_rows
from dynamics.metrics.reuse import once


class Source(NamedTuple):
    """What a layer is split from.

    Attributes
    ----------
    matrix : tensor of shape (n, n) or (n, p)
        A Gram matrix, or activations.
    factor : callable
        The function of `Factor` that splits it.
    features : array of shape (n, p) or None
        The activations that the Gram matrix was made of, as they were given so that no copy is
        kept; None where they are not known.
    """

    matrix: torch.Tensor
    factor: Callable = Factor.of
    features: Array | None = None


class Later(NamedTuple):
    """A source that is made when its layer is worked on, so that no more are held at a time.

    Attributes
    ----------
    make : callable
        Returns the `Source`.
    entries : int
        How many its matrix has.
    device : torch.device
        Where it lies.
    """

    make: Callable[[], Source]
    entries: int
    device: torch.device

    @classmethod
    def of(cls, source: Source | Later) -> Later:
        """Return a source that is there as one that is to be made."""
        if isinstance(source, Later):
            return source
        return cls(lambda: source, source.matrix.numel(), source.matrix.device)


class Compact:
    """Activations of a layer as `compact` has them, made when they are first asked for."""

    def __init__(self, source: Source):
        self._source = source
        self._value: torch.Tensor | None = None
        self._lock = threading.Lock()

    @property
    def width(self) -> int:
        """The most directions that there can be."""
        assert self._source.features is not None
        return int(self._source.features.shape[1])

    def __call__(self) -> torch.Tensor:
        """Return them, (n, k)."""
        with self._lock:
            if self._value is None:
                assert self._source.features is not None
                X = as_tensor(self._source.features).to(self._source.matrix.device)
                self._value = once("compact", lambda: compact(X), X)
            return self._value

    def lost(self, spectrum: torch.Tensor, rows: int, alpha: float) -> bool:
        """Whether a penalty and directions are below what a Gram matrix of so many rows holds."""
        if self._source.features is None or not len(spectrum):
            return False
        if alpha >= HELD * float(spectrum[-1]) or is_held(spectrum, rows, self.width):
            return False
        return not is_held(spectrum, rows, self().shape[1])


class Held:
    """Splits of a layer, by singular values for penalties below `floor`.

    Parameters
    ----------
    source : Source
        The layer.
    rows : list of tensors
        Rows of each fold.
    lowest : float
        The smallest penalty of the search's own grid. If it is below the floor all is done by
        singular values, so that scores that are compared are made in one way.
    """

    def __init__(self, source: Source, rows: list[torch.Tensor], *, lowest: float = torch.inf):
        self.rows = rows
        self.plain = Splits.of(source.matrix, rows, source.factor)
        self.features = source.features
        self._compact = Compact(source)
        self._fine: Splits | None = None
        self._floor: float | None = None
        self._lock = threading.Lock()
        self._largest = max(
            float(f.spectrum[-1]) if len(f.spectrum) else 0.0 for f in self.plain.outer
        )
        self.all_fine = self._is_below(lowest)

    @property
    def fine(self) -> Splits:
        """The splits by singular values, made when they are first asked for."""
        with self._lock:
            if self._fine is None:
                self._fine = Splits.of(self._compact(), self.rows, Factor.of_singular)
            return self._fine

    @property
    def splits(self) -> Splits:
        """The splits that the search over its own grid uses."""
        return self.fine if self.all_fine else self.plain

    def at(self, alpha: float) -> Splits:
        """Return the splits that hold for a penalty."""
        return self.fine if self._is_below(alpha) else self.plain

    def holds(self, alpha: float) -> bool:
        """Whether a penalty is of use: any where activations are known, else while digits last."""
        return self.features is not None or alpha >= LOST * self._largest

    def reaches(self, alpha: float) -> bool:
        """Whether every direction of the outer training splits is larger than a penalty."""
        return all(
            int((factor.spectrum > alpha).sum()) >= self._directions(factor)
            for factor in self.plain.outer
        )

    def hides(self, alpha: float, most: int | None = None) -> bool:
        """Whether a penalty is larger than most directions of every outer training split.

        Of those that there can be, or of `most` at most.
        """
        return all(
            2 * int((factor.spectrum > alpha).sum())
            < min(self._directions(factor), self._compact.width if most is None else most)
            for factor in self.plain.outer
        )

    def directions(self) -> torch.Tensor:
        """Return the activations' directions (n, k), see `compact`."""
        return self._compact()

    def shrinks(self, f: int, alpha: float) -> bool:
        """Whether a penalty shrinks most directions of an outer training split by a hundredth."""
        factor = self.plain.outer[f]
        return 2 * int((factor.spectrum > 100 * alpha).sum()) < self._directions(factor)

    def smallest(self, f: int, alpha: float) -> float:
        """Smallest eigenvalue of an outer training split, as the splits for a penalty have it."""
        spectrum = self.at(alpha).outer[f].spectrum
        return float(spectrum[0]) if len(spectrum) else torch.inf

    def inner_scores(self, responses: Responses, grid: torch.Tensor) -> torch.Tensor:
        """See `dynamics.metrics.inner_cv.inner_scores`; (folds, a, v)."""
        return inner_scores(self.splits, responses, grid)

    def score_at(
        self, Y: torch.Tensor, f: int, column: torch.Tensor, alpha: torch.Tensor
    ) -> torch.Tensor:
        """See `dynamics.metrics.inner_cv.score_at`."""
        parts = self._parts(alpha)
        if len(parts) == 1:
            return score_at(parts[0][0], Y, f, column, alpha)
        out = Y.new_empty(len(column))
        for splits, some in parts:
            out[some] = score_at(splits, Y, f, column[some], alpha[some])
        return out

    def score_of(self, Y: torch.Tensor, alpha: torch.Tensor, f: int) -> torch.Tensor:
        """See `Splits.score_at`."""
        parts = self._parts(alpha)
        if len(parts) == 1:
            return parts[0][0].score_at(Y, alpha, f)
        out = Y.new_empty(Y.shape[1])
        for splits, some in parts:
            out[some] = splits.score_at(Y[:, some], alpha[some], f)
        return out

    def predict(self, f: int, Y: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        """Predict the rows of an outer fold, see `Factor.predict`."""
        parts = self._parts(alpha)
        if len(parts) == 1:
            return parts[0][0].outer[f].predict(Y, alpha)
        out = Y.new_empty(len(self.rows[f]), Y.shape[1])
        for splits, some in parts:
            out[:, some] = splits.outer[f].predict(Y[:, some], alpha[some])
        return out

    def predict_outer(self, Y: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        """Out-of-fold predictions (n, v) with alpha (folds, v) fixed for each outer fold."""
        prediction = torch.empty_like(Y)
        for f, test in enumerate(self.rows):
            prediction[test] = self.predict(f, Y, alpha[f])
        return prediction

    def _directions(self, factor: Factor) -> int:
        """How many directions a training split can have, as far as is known."""
        if self.features is None:
            return len(factor.spectrum)
        return min(len(factor.train) - 1, self._compact.width)

    def _is_below(self, alpha: float) -> bool:
        """Whether a penalty is below what the Gram matrices hold."""
        if self.features is None or alpha >= HELD * self._largest:
            return False
        if self._floor is None:
            every = [*self.plain.outer, *self.plain.inner.values()]
            lost = any(self._compact.lost(f.spectrum, len(f.train), 0.0) for f in every)
            self._floor = HELD * self._largest if lost else 0.0
        return alpha < self._floor

    def _parts(self, alpha: torch.Tensor) -> list[tuple[Splits, torch.Tensor]]:
        """Which splits hold for which of the penalties (v,); one pair where one does for all."""
        if self.all_fine:
            return [(self.fine, alpha)]
        if self.features is None or not len(alpha) or not self._is_below(float(alpha.min())):
            return [(self.plain, alpha)]
        below = alpha < (self._floor or 0.0)
        if below.all():
            return [(self.fine, alpha)]
        return [(self.fine, below.nonzero().ravel()), (self.plain, (~below).nonzero().ravel())]


def sources_of(gram: torch.Tensor, features: Sequence[Array] | None) -> list[Source]:
    """Source of every Gram matrix (layers, n, n), with its activations where they are given.

    Raises
    ------
    ValueError
        If there is not one array of activations a layer, with as many stimuli.
    """
    if features is None:
        return [Source(matrix) for matrix in gram]
    if len(features) != len(gram):
        raise ValueError(
            f"there are activations of {len(features)} layers for {len(gram)} Gram matrices: give "
            "those that the matrices were made of"
        )
    for X in features:
        same_rows(X, gram[0], names=("features", "K"))
    return [Source(matrix, features=X) for matrix, X in zip(gram, features)]


def decomposed(
    layer: Compact, rows: torch.Tensor, spectrum: torch.Tensor, lowest: float
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Directions and eigenvalues of some stimuli by singular values, where those are needed.

    Parameters
    ----------
    layer : Compact
        Of all stimuli.
    rows : tensor of shape (m,)
        Which.
    spectrum : tensor of shape (m - 1,)
        Eigenvalues of their centred Gram matrix, ascending.
    lowest : float
        Smallest penalty.

    Returns
    -------
    Q, spectrum : tensors of shape (m, m - 1), (m - 1,)
        Without the constant direction, ascending; None where the Gram matrix will do.
    """
    if not layer.lost(spectrum, len(rows), lowest):
        return None
    some = layer()[rows]

    def make() -> tuple[torch.Tensor, torch.Tensor]:
        U, s, _ = decompose(centred_columns(some))
        Q = whole_space(U - U.mean(0))
        return Q, torch.cat([s.new_zeros(Q.shape[1] - len(s)), s.square()])

    return once("by singular values", make, some)


def is_held(spectrum: torch.Tensor, rows: int, width: int) -> bool:
    """Whether all directions of so many rows and features are among eigenvalues that are held."""
    directions = min(rows - 1, width)
    return not directions or int((spectrum > HELD * spectrum.max()).sum()) >= directions

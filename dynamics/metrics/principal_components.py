"""Leading principal components of rows that come part by part; memory does not grow with them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Basis(NamedTuple):
    """An affine map onto a few orthonormal axes.

    Attributes
    ----------
    mean : array of shape (p,)
        What is taken away first.
    axes : array of shape (p, k)
        The axes.
    share : float
        What part of the variance of the rows that it was fitted on lies along them; NaN where it
        was fitted on something else.
    """

    mean: np.ndarray
    axes: np.ndarray
    share: float = float("nan")

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """Return the coordinates (..., k) of rows (..., p) as float32; NaN of a row of NaN."""
        return ((rows - self.mean) @ self.axes).astype("float32")


class Rows:
    """The mean and the scatter of rows so far; up to p of p features, the rows themselves.

    Parameters
    ----------
    features : int
        Their number p.
    number : int
        Axes that are wanted of them; of fewer features there are as many as these.

    Notes
    -----
    Moments of parts are put together as Chan, Golub & LeVeque (1983,
    doi:10.1080/00031305.1983.10483115) do, p rows at a time, in double precision: it takes
    12 p^2 bytes, whatever the number of rows.
    """

    def __init__(self, features: int, number: int):
        self.count, self.number = 0, min(number, features)
        self.mean = np.zeros(features)
        self.scatter: np.ndarray | None = None
        self._held = np.empty((features, features), np.float32)
        self._filled = 0

    def add(self, rows: np.ndarray) -> None:
        """Take rows of shape (n, p)."""
        while len(rows):
            if self._filled == len(self._held):
                self._flush()
            part = rows[: len(self._held) - self._filled]
            self._held[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            rows = rows[len(part) :]

    def _flush(self) -> None:
        part = self._held[: self._filled].astype("float64")
        mean = part.mean(0)
        part -= mean
        scatter = part.T @ part
        total, apart = self.count + self._filled, mean - self.mean
        if self.scatter is None:
            self.scatter = scatter
        else:
            self.scatter += scatter
            self.scatter += np.outer(apart, apart) * (self.count * self._filled / total)
        self.mean = self.mean + apart * (self._filled / total)
        self.count, self._filled = total, 0

    def basis(self) -> Basis:
        """Return the `number` axes of the largest variance; once, after all rows.

        Returns
        -------
        Basis
            Of each axis the largest entry is positive. Axes beyond the rank of the rows are zero,
            and so are all scores on them.
        """
        if self.scatter is None:
            # No more rows than features: singular values of the rows are exact, and cheaper.
            part = self._held[: self._filled].astype("float64")
            self.mean = part.mean(0)
            _, singular, axes = np.linalg.svd(part - self.mean, full_matrices=False)
            spectrum, axes = singular**2, axes.T
        else:
            self._flush()
            spectrum, axes = np.linalg.eigh(self.scatter)
            spectrum, axes = spectrum[::-1].clip(min=0), axes[:, ::-1]
        total, number = float(spectrum.sum()), self.number
        spectrum, axes = spectrum[:number], axes[:, :number]
        void = spectrum <= len(self.mean) * np.finfo(float).eps * spectrum.max(initial=0.0)
        largest = axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])]
        axes = np.where(void, 0.0, axes * np.where(largest < 0, -1.0, 1.0))
        axes = np.pad(axes, ((0, 0), (0, number - axes.shape[1])))
        return Basis(self.mean, axes, float(spectrum.sum()) / total if total else 1.0)


class Pairs:
    """Rows beside the scores that they are to have, to find the axes that come closest."""

    def __init__(self, features: int, number: int):
        self.count = 0
        self.rows, self.scores = np.zeros(features), np.zeros(number)
        self.products = np.zeros((features, number))

    def add(self, rows: np.ndarray, scores: np.ndarray) -> None:
        """Take rows of shape (n, p) and scores of shape (n, k)."""
        rows, scores = rows.astype("float64"), scores.astype("float64")
        self.count += len(rows)
        self.rows += rows.sum(0)
        self.scores += scores.sum(0)
        self.products += rows.T @ scores

    def basis(self) -> Basis:
        """Return the orthonormal axes whose scores are closest (Schönemann 1966, Psychometrika 31).

        Those of a basis that was fitted on rows like these are found again, also where variances
        of components are so much alike that a fit would turn them.
        """
        products = self.products - np.outer(self.rows, self.scores) / self.count
        left, _, right = np.linalg.svd(products, full_matrices=False)
        return Basis(self.rows / self.count, left @ right)

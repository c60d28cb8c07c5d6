"""Parts of continuous responses that train and test together, walked through piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch

from dynamics.metrics.blocks import Split
from dynamics.metrics.delays import delayed
from dynamics.metrics.sufficient_statistics import Layout

# Numbers of delayed features that are held at a time, where rows need not be summed at once.
_ENTRIES = 2**26


class Plan(NamedTuple):
    """Parts of the samples that are alike in fold and nearness, and in which fold each sample is.

    Attributes
    ----------
    layout : Layout
        Of the parts.
    part : tensor of shape (n,), int64
        Part of each sample, all stimuli after another; -1 where it is left out.
    fold, unit : tensor of shape (n,), int64
        Its fold, and the number of its stimulus or block.
    lengths : list of int
        Samples of each stimulus.
    """

    layout: Layout
    part: torch.Tensor
    fold: torch.Tensor
    unit: torch.Tensor
    lengths: list[int]

    @classmethod
    def of(cls, split: Split, kept: torch.Tensor, device: torch.device) -> Plan:
        """Find the parts of a split."""
        fold = np.concatenate(split.folds)
        kinds, part = np.unique(
            np.column_stack([fold, np.concatenate(split.near)]), axis=0, return_inverse=True
        )
        layout = Layout(
            tuple(int(kind[0]) for kind in kinds),
            tuple(frozenset(np.flatnonzero(kind[1:]).tolist()) for kind in kinds),
        )
        numbers = torch.where(kept, torch.as_tensor(part.ravel()), -1)
        unit = torch.as_tensor(np.concatenate(split.units))
        lengths = [len(each) for each in split.folds]
        return cls(layout, numbers.to(device), torch.as_tensor(fold).to(device), unit, lengths)

    def check_training(self) -> None:
        """Raise a ValueError where the guard leaves nothing to train on inside a fold."""
        rows = torch.bincount(self.part[self.part >= 0], minlength=len(self.layout.fold))
        for f, g in combinations(range(self.layout.folds), 2):
            for name, parts in (
                ("train on", self.layout.train(f, g)),
                ("choose by", self.layout.test(f, g)),
                ("choose by", self.layout.test(g, f)),
            ):
                if int(rows[parts].sum()) < 2:
                    raise ValueError(
                        f"nothing is left to {name} when folds {f} and {g} are held out: use "
                        "longer or more blocks, shorter delays, a shorter guard or fewer folds"
                    )

    def resampled(self, again: Sequence[np.ndarray]) -> list[torch.Tensor]:
        """Which samples belong to each resample of the units, (n,) bool each."""
        count, out = int(self.unit.max()) + 1, []
        for number, each in enumerate(again):
            drawn = each[each >= 0]
            if len(drawn) and drawn.max() >= count:
                raise ValueError(
                    f"a resample names row {drawn.max()} of {count}: make resamples for these "
                    "stimuli"
                )
            inside = torch.zeros(count, dtype=torch.bool)
            inside[torch.as_tensor(drawn)] = True
            some = inside[self.unit].to(self.part.device) & (self.part >= 0)
            if len(self.fold[some].unique()) < self.layout.folds:
                raise ValueError(
                    f"resample {number} has no stimulus of a fold: draw resamples fold by fold"
                )
            out.append(some)
        return out

    def pieces(
        self, X: list[torch.Tensor], y: torch.Tensor, span: Sequence[int], lead: int,
        some: torch.Tensor,
    ) -> list[Iterator[tuple[torch.Tensor, torch.Tensor]]]:  # fmt: skip
        """For each part, its delayed features and responses, no more at a time than fit."""
        return [
            self._pieces(X, y, span, lead, some & (self.part == number))
            for number in range(len(self.layout.fold))
        ]

    def _pieces(self, X, y, span, lead, some):
        held, size, width = [], 0, len(span) * X[0].shape[1]
        for x, own, response in zip(X, some.split(self.lengths), y.split(self.lengths)):
            if own.any():
                whole = bool(own.all())
                features = delayed(x, span, lead)
                held.append((features, response) if whole else (features[own], response[own]))
                size += len(held[-1][0]) * width
                if size > _ENTRIES:
                    yield _joined(held)
                    held, size = [], 0
        if held or not some.any():
            yield _joined(held) if held else (y.new_zeros(0, width), y[:0])


def _joined(held: list[tuple[torch.Tensor, torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor]:
    features, response = zip(*held)
    return torch.cat(features), torch.cat(response)

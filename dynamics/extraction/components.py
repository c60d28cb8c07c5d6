"""Layers by their leading principal components, fitted at every step on that step's activations.

All rows count alike: a stimulus, or with time a sample of one. The axes of a step are those of its
own layer, so that the store says of each step how much of the variance they keep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from dynamics.config import Sweep
from dynamics.extraction import poolings
from dynamics.extraction.windows import Block
from dynamics.faults import SweepError
from dynamics.metrics.principal_components import Basis, Pairs, Rows
from dynamics.sounds import StimulusSet
from dynamics.store.components import Kept

Stored = Callable[[str, Block], np.ndarray | None]


class Reduced(dict[str, np.ndarray]):
    """Scores on components by layer, and what these keep of each.

    Attributes
    ----------
    kept : dict of str to Kept
        By layer.
    """

    kept: dict[str, Kept]


def check(sweep: Sweep, stimuli: StimulusSet) -> None:
    """Raise a ValueError where a sweep wants more components than there can be.

    Parameters
    ----------
    sweep : Sweep
        The sweep.
    stimuli : StimulusSet
        Its sounds.
    """
    if sweep.components is None:
        return
    if sweep.activations is not None:
        raise ValueError(
            "`components` are of what a network makes: leave it out with `activations`"
        )
    counts = poolings.make(sweep.pooling.name, **sweep.pooling.arguments).counts(stimuli.durations)
    rows = len(stimuli) if counts is None else int(counts.sum())
    if sweep.components >= rows:
        what = "stimuli" if counts is None else "samples in time"
        raise ValueError(
            f"`components` is {sweep.components}, and activations to {rows} {what} have "
            f"{rows - 1} at most: lower it, or leave it out"
        )


def reduced(
    layers: Mapping[str, np.ndarray], number: int, *, like: Stored | None = None
) -> Reduced:
    """Return the leading components of activations.

    Parameters
    ----------
    layers : mapping of str to array of shape (n_stimuli, [n_times,] n_features)
        With time, NaN past the end of a shorter stimulus.
    number : int
        How many of each layer; one of fewer features has these.
    like : callable, optional
        As for `of_blocks`.

    Returns
    -------
    Reduced
        Arrays of the same shape with components as features.

    Raises
    ------
    SweepError
        If no layer has as many features.
    """
    whole = [Block(0, 0, dict(layers))]
    [found] = of_blocks(lambda: whole, number, like=like)
    return found.values  # type: ignore[return-value]


def of_blocks(
    passes: Callable[[], Iterable[Block]], number: int, *, like: Stored | None = None
) -> Iterator[Block]:
    """Return the leading components of activations that memory is not to hold.

    Parameters
    ----------
    passes : callable
        Gives all blocks, which it is asked for twice: once to fit axes, and once to project on
        them. So the network runs twice, and of a layer of p features 12 p^2 bytes are held.
    number : int
        As for `reduced`.
    like : callable, optional
        Takes a layer and a block and returns the scores that are stored of it, None where there
        are none. Axes are then not those of largest variance, which tiny differences can turn, but
        those whose scores come closest to the stored ones.

    Yields
    ------
    Block
        With `Reduced` as values; a layer of which nothing like it is stored as it was.

    Raises
    ------
    SweepError
        As `reduced`.
    """
    fitted: Any = _leading(passes(), number) if like is None else _closest(passes(), like)
    bases = {layer: fitted.pop(layer).basis() for layer in list(fitted)}
    for block in passes():
        yield block._replace(values=_projected(block.values, bases))


def _leading(blocks: Iterable[Block], number: int) -> dict[str, Rows]:
    rows: dict[str, Rows] = {}
    for block in blocks:
        if not rows:
            widths = {layer: values.shape[-1] for layer, values in block.values.items()}
            _check_widths(widths, number)
            rows = {layer: Rows(width, number) for layer, width in widths.items()}
        for layer, values in block.values.items():
            rows[layer].add(values[np.isfinite(values[..., 0])])
    return rows


def _closest(blocks: Iterable[Block], like: Stored) -> dict[str, Pairs]:
    pairs: dict[str, Pairs] = {}
    for block in blocks:
        for layer, values in block.values.items():
            scores = like(layer, block)
            if scores is None or scores.shape[:-1] != values.shape[:-1]:
                continue
            if layer not in pairs:
                pairs[layer] = Pairs(values.shape[-1], scores.shape[-1])
            there = np.isfinite(values[..., 0]) & np.isfinite(scores[..., 0])
            pairs[layer].add(values[there], scores[there])
    return pairs


def _projected(layers: Mapping[str, np.ndarray], bases: Mapping[str, Basis]) -> Reduced:
    found = Reduced(
        (layer, bases[layer].scores(values) if layer in bases else values)
        for layer, values in layers.items()
    )
    found.kept = {layer: Kept(len(b.mean), b.axes.shape[1], b.share) for layer, b in bases.items()}
    return found


def _check_widths(features: Mapping[str, int], number: int) -> None:
    if (most := max(features.values())) < number:
        raise SweepError(
            f"`components` is {number}, and no layer of the network has more than {most} features "
            "after pooling: lower it, or leave it out"
        )

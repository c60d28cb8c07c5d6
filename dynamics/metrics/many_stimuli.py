"""RSA of thousands of stimuli: one RDM at a time, its entries above the diagonal in one vector.

Ten thousand stimuli are fifty million pairs. The stacks of RDMs that `rdm_comparison` and
`resample` look at would take some ten times as much memory as the entries of all layers; here no
more is held than the places of the entries of a few RDMs in their order, a whole number of 4 bytes
each, of which the ranks within any subset of the stimuli follow without sorting again: the stimuli
of the subset mark which places there are, and running sums count them. Scores are those of the
other way, to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch

from dynamics.metrics.correlation import standardise
from dynamics.metrics.dissimilarity import DISTANCES, TIED, length_checked
from dynamics.metrics.kernels import Array, activations

COMPARED = ("spearman", "pearson", "cosine")
"""Comparisons that are made here."""

_BLOCK = 2**22  # entries that are worked on at a time
_COLUMNS = 1024


class Side(NamedTuple):
    """Entries of an RDM as one of `COMPARED` sees them.

    Attributes
    ----------
    values : tensor of shape (pairs,)
        Of Spearman's the place of each among the different distances, int32; else distances.
    distinct : int
        How many different distances there are; 0 where that is not known.
    compare : str
        The comparison.
    """

    values: torch.Tensor
    distinct: int
    compare: str


def entries(X: Array, *, distance: str = "correlation", zscore: bool = True) -> torch.Tensor:
    """Distances of all pairs of stimuli, made by blocks of stimuli.

    Parameters
    ----------
    X : array of shape (n, p), or (n, p, repetitions)
        Activations or responses, finite floats.
    distance, zscore
        As for `dynamics.metrics.rdm`.

    Returns
    -------
    tensor of shape (n (n - 1) / 2,), double
        Above the diagonal, row by row, as `dynamics.metrics.dissimilarity.upper_entries` has them.

    Raises
    ------
    ValueError
        As `dynamics.metrics.rdm`.
    """
    if distance not in DISTANCES:
        raise ValueError(f"there is no distance {distance!r}: use one of {', '.join(DISTANCES)}")
    tensor = activations(X, repeated=True)
    if tensor.ndim == 3 and distance != "crossnobis":
        tensor = tensor.mean(2)
    if zscore:
        scaled = torch.empty_like(tensor)
        for start in range(0, tensor.shape[1], _COLUMNS):
            part = slice(start, start + _COLUMNS)
            scaled[:, part] = standardise(tensor[:, part])[0]
        tensor = scaled
    n, among = len(tensor), _BLOCKS[distance](tensor)
    out = tensor.new_empty(n * (n - 1) // 2)
    rows, at = max(1, _BLOCK // n), 0
    for first in range(0, n, rows):
        block = among(first, min(first + rows, n))
        for i, row in enumerate(block):
            out[at : (at := at + n - first - i - 1)] = row[i + 1 :]
    return out


def side(values: torch.Tensor, compare: str = "spearman") -> Side:
    """Prepare entries for comparison with others on any subsets of the stimuli.

    Parameters
    ----------
    values : tensor of shape (pairs,)
        From `entries`.
    compare : str
        One of `COMPARED`.

    Returns
    -------
    Side
        Distances that are equal but for rounding share a place, as in
        `dynamics.metrics.dissimilarity.starts`.
    """
    if compare != "spearman":
        return Side(values, 0, compare)
    values, order = values.sort()
    scale = TIED * float(torch.maximum(values[0].abs(), values[-1].abs()))
    new = torch.ones(len(values), dtype=torch.bool, device=values.device)
    for start in range(0, len(values) - 1, _BLOCK):
        part = values[start : start + _BLOCK + 1]
        new[start + 1 : start + len(part)] = part[1:] - part[:-1] > scale
    del values
    place = new.cumsum(0, dtype=torch.int32).sub_(1)
    distinct = int(place[-1]) + 1
    return Side(torch.empty_like(place).scatter_(0, order, place), distinct, compare)


def scores(
    first: Sequence[Side], second: Sequence[Side], n: int, rows: Sequence[torch.Tensor | None]
) -> torch.Tensor:
    """Compare RDMs on subsets of the stimuli.

    Parameters
    ----------
    first, second : sequence of Side
        Of n stimuli.
    n : int
        How many stimuli.
    rows : sequence of tensors of int, or None
        Ascending numbers of the stimuli of each subset; None for all.

    Returns
    -------
    tensor of shape (len(rows), len(first), len(second))
        NaN with fewer than 3 pairs, or where all distances of one side are equal.
    """
    table = torch.full((len(rows), len(first), len(second)), torch.nan, dtype=torch.float64)
    for number, some in enumerate(rows):
        if (n if some is None else len(some)) < 3:
            continue
        others = [_prepared(each, n, some) for each in second]
        for place, each in enumerate(first):
            mine = _prepared(each, n, some)
            found = [_cosine(mine, other) for other in others]
            table[number, place] = torch.tensor(found, dtype=torch.float64)
    return table


def null_scores(
    first: Sequence[Side], second: Side, n: int, orders: Array
) -> Iterator[torch.Tensor]:
    """Compare RDMs with one of shuffled stimuli, as `dynamics.metrics.rdm_null`.

    Parameters
    ----------
    first : sequence of Side
        Of layers.
    second : Side
        Of the target.
    n : int
        How many stimuli.
    orders : array of shape (shuffles, n)
        See `dynamics.metrics.permutations`.

    Yields
    ------
    tensor of shape (len(first),)
        Of every shuffle.
    """
    mine, other = [_prepared(each, n, None) for each in first], _prepared(second, n, None)
    for order in torch.as_tensor(orders).to(other.values.device):
        shuffled = torch.empty_like(other.values)
        at = 0
        for i in range(n - 1):
            low = torch.minimum(order[i], order[i + 1 :])
            high = torch.maximum(order[i], order[i + 1 :])
            index = _start(low, n) + high - low - 1
            shuffled[at : (at := at + n - 1 - i)] = other.values[index]
        there = _Prepared(shuffled, other.offset, other.length)
        yield torch.tensor([_cosine(each, there) for each in mine], dtype=torch.float64)


def stitched(
    made: Callable[[int], torch.Tensor], layer_of: torch.Tensor, folds: torch.Tensor
) -> torch.Tensor:
    """Put together the entries of one RDM from those of several layers.

    Parameters
    ----------
    made : callable
        From the number of a layer to its entries; called once for each that is needed.
    layer_of : tensor of shape (folds, folds)
        Layer of the pairs between two folds, symmetric.
    folds : tensor of shape (n,)
        Fold of every stimulus.

    Returns
    -------
    tensor of shape (pairs,)
        As `entries`.
    """
    n, out = len(folds), None
    for layer in layer_of.unique().tolist():
        values, at = made(layer), 0
        out = torch.empty_like(values) if out is None else out
        for i in range(n - 1):
            part = slice(at, at := at + n - 1 - i)
            here = layer_of[folds[i]][folds[i + 1 :]] == layer
            out[part] = torch.where(here, values[part], out[part])
    assert out is not None
    return out


def noise_ceiling(made: Sequence[Callable[[], torch.Tensor]], compare: str) -> dict[str, float]:
    """`dynamics.metrics.rdm_noise_ceiling` of subjects whose entries are made one after another.

    Parameters
    ----------
    made : sequence of callables
        Each returns the entries of a subject; called twice.
    compare : str
        One of `COMPARED`.

    Returns
    -------
    dict of str to float
        ``lower`` and ``upper``.
    """

    def pooled(values: torch.Tensor) -> torch.Tensor:
        if compare == "spearman":
            return _twice_ranks(side(values)).double() / 2
        centred = values - values.mean() if compare == "pearson" else values
        return centred / centred.square().mean().sqrt().clamp(min=1e-300)

    def alike(a: torch.Tensor, b: torch.Tensor) -> float:
        n = round((1 + (1 + 8 * len(a)) ** 0.5) / 2)
        return float(scores([side(a, compare)], [side(b, compare)], n, [None]))

    total: torch.Tensor | None = None
    for make in made:
        own = pooled(make())
        total = own if total is None else total.add_(own)
    assert total is not None
    low, high = [], []
    for make in made:
        values = make()
        high.append(alike(total / len(made), values))
        low.append(alike((total - pooled(values)) / (len(made) - 1), values))
    return {"lower": sum(low) / len(low), "upper": sum(high) / len(high)}


class _Prepared(NamedTuple):
    """Values of a subset (pairs,), what is to be taken off them, and their length without it."""

    values: torch.Tensor
    offset: float
    length: float


def _prepared(given: Side, n: int, rows: torch.Tensor | None) -> _Prepared:
    part = given if rows is None else given._replace(values=_taken(given.values, n, rows))
    if given.compare == "spearman":
        values, offset = _twice_ranks(part), float(len(part.values) + 1)
    else:
        values = part.values
        offset = float(values.mean()) if given.compare == "pearson" else 0.0
    length = sum(float(block.sub(offset).square_().sum()) for block in _doubles(values)) ** 0.5
    return _Prepared(values, offset, length)


def _twice_ranks(given: Side) -> torch.Tensor:
    """Twice the mean rank of every entry, which is a whole number; int32."""
    places = given.values
    count = torch.zeros(given.distinct, dtype=torch.int32, device=places.device)
    for part in places.split(_BLOCK):
        count[part.long()] = 1
    if int(count.sum()) < len(places):  # some are equal
        count.zero_()
        for part in places.split(_BLOCK):
            count.scatter_add_(0, part.long(), torch.ones_like(part))
    middle = count.cumsum(0, dtype=torch.int32).mul_(2).sub_(count).add_(1)
    return middle.index_select(0, places)


def _taken(values: torch.Tensor, n: int, rows: torch.Tensor) -> torch.Tensor:
    """Entries of a subset of stimuli, of entries of all."""
    m, at = len(rows), 0
    out = values.new_empty(m * (m - 1) // 2)
    for place, row in enumerate(rows.tolist()[:-1]):
        others = rows[place + 1 :]
        index = others + (_start(row, n) - row - 1)
        torch.index_select(values, 0, index, out=out[at : (at := at + len(others))])
    return out


def _start(row, n: int):
    """Where the entries of a stimulus with all later ones begin."""
    return row * n - row * (row + 1) // 2


def _cosine(x: _Prepared, y: _Prepared) -> float:
    if not (x.length > 0 and y.length > 0):
        return float("nan")
    blocks = zip(_doubles(x.values), _doubles(y.values))
    total = sum(float((a - x.offset) @ (b - y.offset)) for a, b in blocks)
    return min(1.0, max(-1.0, total / (x.length * y.length)))


def _doubles(values: torch.Tensor) -> Iterator[torch.Tensor]:
    for part in values.split(_BLOCK):
        yield part.double()


_Among = Callable[[int, int], torch.Tensor]


def _cosine_blocks(X: torch.Tensor, what: str = "is zero in all features") -> _Among:
    X = X / length_checked(X, what)
    return lambda first, last: 1 - (X[first:last] @ X[first:].T).clamp_(-1, 1)


def _correlation_blocks(X: torch.Tensor) -> _Among:
    return _cosine_blocks(X - X.mean(1, keepdim=True), "varies over features")


def _euclidean_blocks(X: torch.Tensor) -> _Among:
    exact = "donot_use_mm_for_euclid_dist"
    return lambda first, last: torch.cdist(X[first:last], X[first:], compute_mode=exact)


def _sqeuclidean_blocks(X: torch.Tensor) -> _Among:
    among = _euclidean_blocks(X)
    return lambda first, last: among(first, last).square_().div_(X.shape[1])


def _crossnobis_blocks(X: torch.Tensor) -> _Among:
    total, R = X.sum(2), X.shape[2]
    flat, scale = X.flatten(1), R * (R - 1) * X.shape[1]
    own = (total.square().sum(1) - flat.square().sum(1)) / scale

    def among(first: int, last: int) -> torch.Tensor:
        G = (total[first:last] @ total[first:].T - flat[first:last] @ flat[first:].T) / scale
        return own[first:last, None] + own[first:] - 2 * G

    return among


_BLOCKS: dict[str, Callable[[torch.Tensor], _Among]] = {
    "correlation": _correlation_blocks,
    "cosine": _cosine_blocks,
    "euclidean": _euclidean_blocks,
    "sqeuclidean": _sqeuclidean_blocks,
    "crossnobis": _crossnobis_blocks,
}

"""Scores made of scores: where and when in the brain which layer fits, and weighted means."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dynamics.metrics.correlation import pearson, varying
from dynamics.metrics.kernels import Array, as_tensor, like
from dynamics.metrics.validation import takes


@takes(scores="numbers", distances="numbers")
def spatial_score(scores: Array, distances: Array) -> Array:
    """Whether deeper layers fit regions further from primary cortex.

    The correlation over regions between a region's best layer and its distance from primary
    cortex (Raugel et al. 2025, arXiv:2508.18226).

    Parameters
    ----------
    scores : array of shape (..., layers, regions)
        Scores of every layer, from input to output, in every region.
    distances : array of shape (regions,)
        Distance of each region from primary cortex, in any unit.

    Returns
    -------
    array of shape (...)
        Pearson r; NaN where all regions have the same best layer, or fewer than 3 regions have a
        score.

    Raises
    ------
    ValueError
        If there is not one distance a region.
    """
    table, far = as_tensor(scores), as_tensor(distances)
    if far.shape != table.shape[-1:]:
        raise ValueError(
            f"there are {len(far)} distances for {table.shape[-1]} regions: give one each"
        )
    best, known = _best(table, -2)
    return like(_along_last(best.double(), far.to(table.device).expand_as(best), known), scores)


@takes(scores="numbers", latencies="numbers")
def temporal_score(scores: Array, latencies: Array) -> Array:
    """Whether deeper layers fit later responses.

    The correlation over layers between a layer's index and the latency at which it predicts best
    (Raugel et al. 2025, arXiv:2508.18226).

    Parameters
    ----------
    scores : array of shape (..., layers, latencies)
        Scores of every layer, from input to output, at every latency.
    latencies : array of shape (latencies,)
        In seconds, at least 2.

    Returns
    -------
    array of shape (...)
        Pearson r; NaN where all layers have the same best latency, or fewer than 3 layers have a
        score.

    Raises
    ------
    ValueError
        If there are no latencies to tell apart, or not one for each score.
    """
    table, late = as_tensor(scores), as_tensor(latencies)
    if table.ndim < 2 or late.shape != table.shape[-1:] or len(late) < 2:
        raise ValueError(
            f"a temporal score needs scores at several latencies, found scores of shape "
            f"{tuple(table.shape)} for {late.numel()} latencies: use time-resolved encoding"
        )
    place, known = _best(table, -1)
    best = late.to(table.device)[place]
    index = torch.arange(table.shape[-2], device=table.device, dtype=table.dtype)
    return like(_along_last(index.expand_as(best), best, known), scores)


@takes(score="numbers", ceiling="numbers")
def prediction_score(score: Array, ceiling: Array) -> Array:
    """Brain-prediction score: an electrode's encoding score over its noise ceiling.

    Li et al. 2023 (Nat Neurosci 26:2213).

    Parameters
    ----------
    score : array of shape (..., v)
        Correlations of prediction and response.
    ceiling : array of shape (v,)
        Noise ceilings of the same kind, see `noise_ceiling`.

    Returns
    -------
    array of shape (..., v)
        Ratio; NaN where the ceiling is not positive.

    Raises
    ------
    ValueError
        If there is not one ceiling an electrode.
    """
    above, below = as_tensor(score), as_tensor(ceiling)
    if below.shape != above.shape[-1:]:
        raise ValueError(
            f"there are {below.numel()} ceilings for {above.shape[-1]} electrodes: give one each"
        )
    below = below.to(above.device)
    return like(above / torch.where(below > 0, below, torch.nan), score, ceiling)


def auditory_score(
    cortical: Mapping[str, float], behavioural: float, *, weight: float = 0.5
) -> float:
    """Brain-like auditory score: a mean of a cortical and a behavioural part.

    After Wang, Xiao, Liu, Zhang & Shan 2025 (arXiv:2502.15503), whose cortical part is the
    encoding score of the best matching layer in each of four areas and whose behavioural part is
    the agreement with human genre choices. HOW THE STUDY COMBINES THEM COULD NOT BE CONFIRMED: here
    it is a weighted mean, whose weight must be stated wherever the number is.

    Parameters
    ----------
    cortical : mapping of area to score
        Score of the best layer in each area; they are averaged.
    behavioural : float
        Agreement with human choices.
    weight : float
        Weight of the cortical part, 0 to 1.

    Returns
    -------
    float
        weight x mean(cortical) + (1 - weight) x behavioural.

    Raises
    ------
    ValueError
        If there is no area, or the weight is not between 0 and 1.
    """
    if not cortical:
        raise ValueError("a brain-like auditory score needs the score of at least one area")
    if not 0 <= weight <= 1:
        raise ValueError(f"weight is {weight}: give a number between 0 and 1")
    return weight * sum(cortical.values()) / len(cortical) + (1 - weight) * behavioural


def _best(table: torch.Tensor, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Place of the highest score along an axis, and whether there is any score."""
    return table.nan_to_num(nan=-torch.inf).argmax(dim), table.isfinite().any(dim)


def _along_last(x: torch.Tensor, y: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Pearson r over the last axis of what is known, NaN where either does not vary."""
    flat = [each.reshape(-1, each.shape[-1]) for each in (x, y, known)]
    found = []
    for a, b, keep in zip(*flat):
        a, b = a[keep], b[keep]
        varies = len(a) > 2 and bool(varying(torch.stack([a, b], 1)).all())
        found.append(pearson(a[:, None], b[:, None])[0] if varies else a.new_tensor(torch.nan))
    return torch.stack(found).reshape(x.shape[:-1])

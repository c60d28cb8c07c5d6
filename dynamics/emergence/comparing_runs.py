"""Two runs or models against each other: in which a layer comes to resemble the brain first.

Steps, layers and even architectures may differ. What must not differ is the question: the metric,
its protocol and the brain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr

from dynamics.emergence.comparing import compare_two
from dynamics.emergence.curves import above_start, pair
from dynamics.emergence.levels import has_controls
from dynamics.emergence.remarks import why_no_intervals
from dynamics.emergence.table import counts
from dynamics.store.attributes import identity_of

# What has to be equal for two scores to be comparable, and then for two resamples to be pairs.
QUESTION = ("metric", "arguments", "target", "target_checksums", "task_sha256", "value")
PAIRING = ("seed", "resamples")


def compare_runs(
    first: xr.Dataset,
    second: xr.Dataset,
    *,
    layers: tuple[str, str] | None = None,
    by: str | None = None,
    paired: bool | None = None,
    statistic: str = "half_time",
    confidence: float = 0.95,
    **arguments: Any,
) -> xr.Dataset:
    """Compare when two runs get somewhere, on the same brain by the same metric.

    Parameters
    ----------
    first, second : xarray.Dataset
        Results of one target and metric of either store, with scores on resamples.
    layers : tuple of two str, optional
        The layer of either; by default all layers that both have by name.
    by : str, optional
        As in `dynamics.emergence.aggregate.average`.
    paired : bool, optional
        Whether resample k of both is of the same stimuli; by default where seed, number of
        resamples and stimuli agree.
    statistic, confidence, **arguments
        As in `dynamics.emergence.compare`.

    Returns
    -------
    xarray.Dataset
        As `dynamics.emergence.compare_two`; `difference` is second minus first, so positive where
        the first run is earlier. Attribute `paired_stimuli`: 1 where resamples are pairs, so that
        what the halves have in common cancels; else the two are taken as independent, which is
        wider.

    Raises
    ------
    ValueError
        If metric, protocol or target differ, there are no resamples, or no layer is common.
    """
    check_alike([first, second])
    identities = [identity_of(each) for each in (first, second)]
    for name, each in (("first", first), ("second", second)):
        if "score" not in each:
            raise ValueError(
                f"the {name} run has no `score`: select the results of one target and metric"
            )
        if why := why_no_intervals(each):
            raise ValueError(f"the {name} run has no intervals to compare: {why}")
    if layers is not None:
        first, second = (x.sel(layer=name) for x, name in zip((first, second), layers, strict=True))
        first, second = (x.drop_vars("layer") for x in (first, second))
    else:
        common = [x for x in first["layer"].to_numpy() if x in second["layer"].to_numpy()]
        if not common:
            raise ValueError(
                "the runs have no layer name in common: name the two with `layers=(one, other)`"
            )
        first, second = (x.sel(layer=common) for x in (first, second))
    from_start = counts(statistic) and "baseline" not in arguments
    if from_start and (has_controls(first) or has_controls(second)):
        pairs = [above_start(x, by) for x in (first, second)]
        arguments["baseline"] = xr.DataArray(0.0)
    else:
        pairs = [pair(x, by, "stimuli") for x in (first, second)]
    if paired is None:
        known = bool(identities[0]) and bool(identities[1])
        paired = known and all(identities[0].get(k) == identities[1].get(k) for k in PAIRING)
    whole = [(curve, again) for curve, again in pairs if again is not None]
    return compare_two(
        *whole, paired=paired, statistic=statistic, confidence=confidence, **arguments
    )


def check_alike(results: Sequence[xr.Dataset], keys: Sequence[str] = QUESTION) -> None:
    """Check that results were made in one way, so that their scores mean the same.

    Parameters
    ----------
    results : sequence of xarray.Dataset
        Results of one target and metric of several stores.
    keys : sequence of str
        Which parts of their identity must agree.

    Raises
    ------
    ValueError
        If one differs from the first, or has lost what it was made by.
    """
    identities = [identity_of(each) for each in results]
    for key in keys:
        for each in identities[1:]:
            values = [identities[0].get(key), each.get(key)]
            if not same(*values):
                said = " and ".join(f"{key} = {short(value)}" for value in values)
                raise ValueError(
                    f"the runs were analyzed with {said}: compare results of one protocol"
                )


def same(one: Any, other: Any) -> bool:
    """Whether two parts of an identity agree; checksums to six digits."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= 1e-6 * max(1.0, abs(one), abs(other))
    return bool(one == other)


def short(value: Any) -> str:
    """Write a value in less than sixty letters."""
    text = repr(value)
    return text if len(text) < 60 else f"{text[:57]}..."

"""Several runs of one recipe, told apart by their seed: what another initialisation would do.

Each run is averaged to one curve a layer first, as one subject is. Then runs are what subjects are
elsewhere: intervals over them are Student's t of their number less one (other initialisations
before these stimuli), and over both of stimuli and runs, the part of the runs' spread that is their
own noise before these stimuli taken out (other initialisations before other stimuli). The people
are these people in either case.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from dynamics.emergence.across_runs import on_common_steps
from dynamics.emergence.aggregate import average, resampled
from dynamics.emergence.comparing_runs import PAIRING, check_alike, same
from dynamics.emergence.curves import INITIALISATIONS, scored
from dynamics.store.attributes import identity_of

FEWEST = 3
# What is averaged as the scores are, and stays beside them where every run has it.
_BESIDE = ("baseline", "untrained_score", "permuted_score", "ceiling", "ceiling_lower", "chance")


def replicates(runs: Mapping[str, xr.Dataset] | xr.Dataset, *, by: str | None = None) -> xr.Dataset:
    """Put runs of one recipe together, so that intervals speak of other initialisations.

    Parameters
    ----------
    runs : mapping of str to xarray.Dataset, or xarray.Dataset
        Results of one target and metric by run, three at least; or those of
        `dynamics.open_collection`, with a dimension `run`. They have the same layers; steps of
        curves that differ meet at those of the run that has fewest.
    by : str, optional
        Coordinate of the neuroids that stays (``"region"``); by default each run is its mean.

    Returns
    -------
    xarray.Dataset
        Results whose subjects are the runs: every statistic and figure takes them. `over` is
        ``"subjects"`` (other initialisations, these stimuli) or ``"both"``, by default both where
        resample k of all runs is of the same stimuli. Attribute `units`: "initialisations".

    Raises
    ------
    ValueError
        If there are fewer than three, they answer different questions, or have no layer in common.
    """
    if isinstance(runs, xr.Dataset):
        runs = _apart(runs)
    if len(runs) < FEWEST:
        raise ValueError(
            f"there {'is' if len(runs) == 1 else 'are'} {len(runs)} of one recipe: an interval "
            f"over initialisations takes {FEWEST} at least"
        )
    every = {name: scored(one) for name, one in runs.items()}
    check_alike(list(every.values()))
    names = [[str(x) for x in one["layer"].to_numpy()] for one in every.values()]
    common = [x for x in names[0] if all(x in own for own in names)]
    if not common:
        raise ValueError("the runs have no layer name in common, so they are not of one recipe")
    every = {name: one.sel(layer=common) for name, one in every.items()}
    found = {"score": _beside({k: average(x["score"], by=by) for k, x in every.items()}, by)}
    again = {name: resampled(one) for name, one in every.items()}
    why = _unpaired(every, again)
    if not why:
        clouds = {k: average(x.load(), by=by) for k, x in again.items() if x is not None}
        found["resample_score"] = _beside(clouds, by)
    for name in _BESIDE:
        if all(name in one for one in every.values()):
            found[name] = _beside({k: average(x[name], by=by) for k, x in every.items()}, by)
        other = f"{name.removesuffix('_score')}_resample_score"
        if not why and all(other in one for one in every.values()):
            found[other] = _beside({k: average(x[other], by=by) for k, x in every.items()}, by)
    first = next(iter(every.values()))
    attrs = {k: v for k, v in first.attrs.items() if k != "no_intervals"}
    attrs |= {"units": INITIALISATIONS} | ({"no_intervals": why} if why else {})
    return xr.Dataset(found, attrs=attrs)


def _apart(results: xr.Dataset) -> dict[str, xr.Dataset]:
    """Return the results of every run by itself, of its own steps alone."""
    if "run" not in results.dims:
        raise ValueError(
            "the results have no dimension `run`: give those of several runs, by name or as "
            "`dynamics.open_collection` opens them"
        )
    found = {}
    for place, name in enumerate(results["run"].to_numpy()):
        one = results.isel(run=place, drop=True)
        if "own_step" in one.coords:
            one = one.isel(step=np.flatnonzero(one["own_step"].to_numpy()))
        found[str(name)] = one
    return found


def _unpaired(every: Mapping[str, xr.Dataset], again: Mapping[str, xr.DataArray | None]) -> str:
    """Say why resamples of the runs are no pairs; empty where they are."""
    if lacking := [name for name, one in again.items() if one is None]:
        return f"the run {lacking[0]} has no scores on resamples of the stimuli"
    own = [identity_of(one) for one in every.values()]
    sizes = {one.sizes["resample"] for one in again.values() if one is not None}
    if len(sizes) > 1 or not all(same(own[0].get(k), one.get(k)) for k in PAIRING for one in own):
        return "the runs were resampled with other seeds, so that their halves are not the same"
    return ""


def _beside(each: Mapping[str, xr.DataArray], by: str | None) -> xr.DataArray:
    """Put the runs' averages beside each other as subjects; of several parts as their neuroids."""
    curves = list(each.values())
    if "step" in curves[0].dims:
        curves = on_common_steps(curves)
    bare = [one.drop_vars([k for k in one.coords if k not in one.dims]) for one in curves]
    subject = xr.DataArray(list(each), dims="subject", name="subject")
    found = xr.concat(bare, subject, join="exact", combine_attrs="override")
    if by is None or by not in found.dims:
        return found
    stacked = found.stack(neuroid=("subject", by))
    subjects, parts = stacked["subject"].to_numpy(), stacked[by].to_numpy()
    labels = [f"{one}/{part}" for one, part in zip(subjects, parts, strict=True)]
    stacked = stacked.drop_vars(["neuroid", "subject", by])
    told = {"neuroid": labels, "subject": ("neuroid", subjects), by: ("neuroid", parts)}
    return stacked.assign_coords(told).assign_attrs(found.attrs)

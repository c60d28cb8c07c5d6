"""What runs of one recipe say together: tables, sentences and figures over initialisations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from dynamics.collection.opening import Compared, Opened
from dynamics.config.collection import Collection
from dynamics.emergence.initialisations import FEWEST, replicates
from dynamics.emergence.last_step import ALL, is_single, regions_of
from dynamics.report import findings, narrative

# What a table has of each recipe; the first two of single networks as well.
_SHOWN = ("final", "gain", "onset", "half_time", "plateau_step")


class Recipes(NamedTuple):
    """Recipes of one target and metric: results whose subjects are their runs.

    Attributes
    ----------
    target, metric : str
        Labels.
    results : dict of str to xarray.Dataset
        From `dynamics.emergence.replicates`, by name of the recipe.
    """

    target: str
    metric: str
    results: dict[str, xr.Dataset]


def recipes_of(
    collection: Collection, every: Sequence[Compared], opened: Sequence[Opened]
) -> tuple[list[Recipes], pd.DataFrame, list[str], list[str]]:
    """Put runs together that differ in nothing but the coordinate of replicates.

    Parameters
    ----------
    collection : Collection
        With `replicates`, the coordinate; without it there are none.
    every : sequence of Compared
        The results.
    opened : sequence of Opened
        All runs.

    Returns
    -------
    recipes : list of Recipes
        Of each target and metric that has any.
    table : pandas.DataFrame
        A row a target, metric, recipe and region: `runs`, `layer`, `over`, and of each statistic
        its estimate with `_low` and `_high`, which hold for all layers at once.
    sentences : list of str
        What the report says of each recipe.
    said : list of str
        What is not there, and why.

    Raises
    ------
    ValueError
        If no run has the coordinate.
    """
    if not (key := collection.replicates):
        return [], pd.DataFrame(), [], []
    members = _members(opened, key)
    found, rows, sentences, said = [], [], [], []
    for each in every:
        own: dict[str, xr.Dataset] = {}
        for recipe, names in members.items():
            runs = {name: each.results[name] for name in names if name in each.results}
            if len(runs) < FEWEST:
                said.append(
                    f"{each.target} by {each.metric} has no interval over initialisations of "
                    f"{recipe}: its runs are {len(runs)}, and {FEWEST} are needed"
                )
                continue
            try:
                own[recipe] = replicates(runs)
                curves = _curves(each, runs, own[recipe])
            except ValueError as error:
                said.append(f"{each.target} by {each.metric} of {recipe}: {error}")
                continue
            rows += [_row(each, recipe, len(runs), *one) for one in curves.items()]
            sentences.append(_told(each, recipe, curves[ALL]))
        if own:
            found.append(Recipes(each.target, each.metric, own))
    return found, pd.DataFrame(rows), sentences, said


def _members(opened: Sequence[Opened], key: str) -> dict[str, list[str]]:
    """Return the runs of every recipe, which is named by what recipes differ in."""
    members: dict[str, list[str]] = {}
    able = [one for one in opened if key in one.coordinates]
    names = dict.fromkeys(name for one in able for name in one.coordinates if name != key)
    differ = [name for name in names if len({one.coordinates.get(name) for one in able}) > 1]
    for one in able:
        own = one.coordinates
        rest = [f"{name} {_short(own[name])}" for name in differ if name in own]
        members.setdefault(", ".join(rest) or "the recipe", []).append(one.name)
    if not members:
        known = ", ".join(dict.fromkeys(k for one in opened for k in one.coordinates)) or "none"
        raise ValueError(f"`replicates` names {key!r}, which no run has: there are {known}")
    return members


def _short(value: Any) -> str:
    whole = isinstance(value, float) and value.is_integer()
    return f"{value:,.0f}" if whole else str(value)


def _curves(
    each: Compared, runs: Mapping[str, xr.Dataset], both: xr.Dataset
) -> dict[str, findings.Curve]:
    """Return the curve of a recipe in every region that enough of its runs have."""
    parts = {name: regions_of(one) for name, one in runs.items()}
    found = {ALL: both}
    for region in next(iter(parts.values())):
        own = {name: one[region] for name, one in parts.items() if region in one}
        if region != ALL and len(own) >= FEWEST:
            found[region] = replicates(own)
    return {
        region: findings.mean_of(findings.Result(each.target, each.metric, one))
        for region, one in found.items()
    }


def _row(
    each: Compared, recipe: str, number: int, region: str, curve: findings.Curve
) -> dict[str, Any]:
    at = narrative.numbers_of_best(curve)
    row = {"target": each.target, "metric": each.metric, "recipe": recipe, "region": region,
           "runs": number, "layer": curve.best, "over": curve.over}  # fmt: skip
    for name in _SHOWN:
        if name in at:
            row |= {name: at[name], f"{name}_low": at.get(f"{name}_lower", np.nan),
                    f"{name}_high": at.get(f"{name}_upper", np.nan)}  # fmt: skip
    return row


def _told(each: Compared, recipe: str, curve: findings.Curve) -> str:
    """Say what the report of one run says, of the recipe."""
    name = f"By {each.metric}, the {curve.what} of {recipe} in {each.target}"
    return f"{narrative.about(curve, name=name)} Limits are over {curve.over}, in these people."


def half_times_of(table: pd.DataFrame, each: Recipes) -> pd.DataFrame:
    """Return the half-times of a table of recipes as figures of runs take them.

    Parameters
    ----------
    table : pandas.DataFrame
        From `recipes_of`.
    each : Recipes
        Which target and metric.

    Returns
    -------
    pandas.DataFrame
        Columns `run` (the recipe), `half_time`, `low`, `high`, `status`, `over`.
    """
    mine = table[(table["target"] == each.target) & (table["metric"] == each.metric)]
    mine = mine[mine["region"] == ALL]
    if "half_time" not in mine or not mine["half_time"].notna().any():
        return pd.DataFrame()
    return pd.DataFrame(
        {
            "run": [f"{name} (n = {n})" for name, n in zip(mine["recipe"], mine["runs"])],
            "half_time": mine["half_time"].to_numpy(),
            "low": mine["half_time_low"].to_numpy(),
            "high": mine["half_time_high"].to_numpy(),
            "status": ["" if np.isfinite(x) else "no half-time" for x in mine["half_time"]],
            "over": mine["over"].to_numpy(),
        }
    )


def trained(each: Recipes) -> dict[str, xr.Dataset]:
    """Return the recipes that have a course of training."""
    return {name: one for name, one in each.results.items() if not is_single(one)}

"""Which value of a metric is shown: its score, r^2, or r^2 over the reliability of responses.

Statistics, figures and reports read `score` and what stands beside it: resamples, baseline,
untrained networks, noise ceiling, shuffles. `of` puts another value into all of these places, so
that whatever reads them afterwards shows that value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from dynamics.analysis import METHODS, Value
from dynamics.emergence.aggregate import COUNT
from dynamics.emergence.resampling import squared, stabilised
from dynamics.metrics.ceilings import LEAST_RELIABILITY
from dynamics.store.attributes import identity_of, mapping, portable

SCORE = "score"
_STARTS = {
    "": SCORE,
    "baseline_": "baseline",
    "untrained_": "untrained_score",
    "permuted_": "permuted_score",
}


def check(label: str, metric: str, arguments: Mapping[str, Any], value: str) -> None:
    """Find out whether a metric has a value.

    Parameters
    ----------
    label : str
        How the metric is called in messages.
    metric : str
        Its name.
    arguments : mapping
        Its arguments.
    value : str
        The value.

    Raises
    ------
    ValueError
        If it has none of this name; the message names what there is.
    """
    there = [*_same(metric), *_beside(metric, arguments)]
    if value in there:
        return
    protocol = arguments.get("protocol")
    own = f"metric {label!r}" + (f" by the {protocol} protocol" if protocol else "")
    raise ValueError(
        f"{own} has no value {value!r}: there is {' or '.join(f'`{name}`' for name in there)}; "
        f"`value: {{<label of a metric>: <value>}}` sets it for one metric alone"
    )


def _same(metric: str) -> tuple[str, ...]:
    """Names of the score itself."""
    own = METHODS.get(metric)
    is_r = own is not None and own.per == "neuroid" and own.unit == "correlation"
    return (SCORE, "r") if is_r else (SCORE,)


def _beside(metric: str, arguments: Mapping[str, Any]) -> Mapping[str, Value]:
    """Return what a metric has beside its score, by name."""
    return METHODS[metric].by(arguments).values if metric in METHODS else {}


def of(results: xr.Dataset, value: str | None = None) -> xr.Dataset:
    """Put a value in the place of the score, and into what stands beside it.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.
    value : str, optional
        ``"score"`` (or ``"r"`` where that is a correlation), ``"r2"``, ``"r2_corrected"`` or what
        else is among the `values` of its `dynamics.analysis.Metric`; by default what the results
        are of.

    Returns
    -------
    xarray.Dataset
        `score`, `baseline`, `untrained_score`, `permuted_score`, their resamples, `ceiling`,
        `null_score` and `p_value` are those of the value; what the value has not is left out. Of
        squares resamples are squared neuroid by neuroid, as `dynamics.emergence.squared`.
        Attributes: `value`,
        `value_name` and `value_axis` (its name for axes), and `no_intervals` where only the score
        has resamples.

    Raises
    ------
    ValueError
        If the results have no such value, have another one in the place of the score, or have lost
        what they are of.
    """
    if value is None:
        return results
    identity, now = identity_of(results), results.attrs.get("value", SCORE)
    if value == now:
        return results
    metric, arguments = str(identity.get("metric", "")), identity.get("arguments", {})
    if now == SCORE and value in _same(metric):
        return results
    if now != SCORE:
        raise ValueError(f"the results are of `{now}` already: take {value!r} from the store's own")
    if not metric:  # made by hand
        metric = "ridge"
    check(metric, metric, arguments, value)
    about = _beside(metric, arguments)[value]
    if about.over_ceiling:
        return _over_ceiling(results, value, about)
    if value == "r2" and "r2" not in results and about.square and SCORE in results:
        results = results.assign(r2=results["score"].clip(min=0) ** 2)
    if value not in results:
        why = "responses were not repeated" if value == "r2_corrected" else "see `data_vars`"
        raise ValueError(f"the results have no `{value}`: {why}")
    return _put(results, value, about)


def of_tree(tree: xr.DataTree, value: str | Mapping[str, str]) -> xr.DataTree:
    """Put a value in the place of the score in all results of a store but those of probes.

    Parameters
    ----------
    tree : xarray.DataTree
        What `dynamics.open` returned.
    value : str or mapping of str to str
        One for all metrics, or by label of the metric.

    Returns
    -------
    xarray.DataTree
        The tree itself where there is nothing to do.

    Raises
    ------
    ValueError
        As `of`, with target and metric.
    """
    if not value or value == SCORE:
        return tree
    changed = {}
    for path in tree.groups:
        parts = path.strip("/").split("/")
        if len(parts) != 3 or parts[0] != "results" or parts[1] == "self":
            continue
        wanted = value if isinstance(value, str) else value.get(parts[2], SCORE)
        results = tree[path].to_dataset()
        is_probe = mapping(results.attrs.get("identity")).get("metric") == "probe"
        if is_probe or SCORE not in results or wanted == SCORE:
            continue
        try:
            found = of(results, wanted)
        except ValueError as error:
            raise ValueError(f"{parts[1]} by {parts[2]}: {error}") from None
        if found is not results:
            changed[path] = found
    if changed:
        tree = tree.copy()
        for path, found in changed.items():
            tree[path].dataset = found
    return tree


def named(metric: str, results: xr.Dataset) -> str:
    """Return the label of a metric with the value that results are of, where it is no score."""
    name = results.attrs.get("value_name")
    return f"{metric} ({name})" if name else metric


def _put(results: xr.Dataset, value: str, about: Value) -> xr.Dataset:
    reliability = _reliability(results) if value == "r2_corrected" else None
    new: dict[str, xr.DataArray] = {}
    for start in _STARTS:
        new |= _with_resamples(results, value, about, start, reliability)
    if reliability is not None:
        # Stores of before have quotients of every reliability above 0.
        new = {name: each.where(reliability.notnull()) if "neuroid" in each.dims else each
               for name, each in new.items()}  # fmt: skip
    score = new[SCORE]
    if about.square and "null_score" in results:
        null = results["null_score"].clip(min=0) ** 2
        new["null_score"] = null if reliability is None else null / reliability
        # Every shuffle reaches a square of 0; otherwise the order is that of the correlations.
        p = results.get("p_value")
        if p is not None:
            new["p_value"] = p.where(score != 0, 1.0).where(score.notnull())
    if "ceiling" in results:
        new["ceiling"] = _ceiling(results, value, about)
    gone = [name for name in results.data_vars if _is_beside(str(name))]
    bare = results.drop_vars([*gone, *({"ceiling"} & set(results.variables))])
    kept = {name: each for name, each in new.items() if each is not None}
    coordinates = {"ceiling"} & set(results.coords) & set(kept)
    bare = bare.assign({name: each.drop_vars("ceiling", errors="ignore")
                        for name, each in kept.items()}).set_coords(coordinates)  # fmt: skip
    attrs = results.attrs | {
        "value": value, "value_name": about.short, "value_axis": about.axis,
        # Runs are compared by one value alone.
        **portable({"identity": {**mapping(results.attrs.get("identity")), "value": value}}),
    }  # fmt: skip
    if not {"resample_score", "resample_mean"} & set(new) and (
        {"resample_score", "resample_mean"} & set(results)
    ):
        attrs["no_intervals"] = (
            f"resamples of `{value}` are not kept, those of `score` are: show `score`, or "
            "compute the results again under another `label` with `resample_neuroids` larger than "
            "the number of neuroids"
            if about.square
            else f"only `score` has resamples, and those of `{value}` do not follow from them"
        )
    found = bare.assign_attrs(attrs)
    return found if reliability is None else _weighed(found, reliability)


def _over_ceiling(results: xr.Dataset, value: str, about: Value) -> xr.Dataset:
    """Divide the score, its levels, resamples and shuffles by each neuroid's noise ceiling."""
    if "ceiling" not in results.variables:
        raise ValueError(f"the results have no `{value}`: responses were not repeated")
    ceiling = results["ceiling"].drop_vars("ceiling", errors="ignore")
    ceiling = ceiling.where(np.isfinite(ceiling) & (ceiling > 0))
    changed = {
        name: results[name] / ceiling
        for name in (*_STARTS.values(), "null_score")
        if name in results and "neuroid" in results[name].dims
    }
    for start, place in _STARTS.items():
        again = f"{start}resample_score"
        if again in results and place in changed and "neuroid" in results[again].dims:
            own = results[again]
            scheme = results["resample_score"].attrs if "resample_score" in results else own.attrs
            own = own.assign_attrs({**own.attrs, **_scheme(scheme)})
            # Errors shrink as the correlation nears 1, not as its ratio does: scaled beforehand.
            level = stabilised(results[place], own) / ceiling
            changed[again] = level.assign_attrs({**own.attrs, "correlation": 0})
    kept = {*changed, "p_value"}
    gone = [name for name in results.data_vars if _is_beside(str(name)) and name not in kept]
    one = xr.where(ceiling.notnull(), 1.0, np.nan).drop_vars("ceiling", errors="ignore")
    is_coordinate = {"ceiling"} & set(results.coords)
    new = {name: each.drop_vars("ceiling", errors="ignore") for name, each in changed.items()}
    bare = results.drop_vars([*gone, "ceiling"]).assign(new | {"ceiling": one})
    attrs = results.attrs | {
        "value": value, "value_name": about.short, "value_axis": about.axis,
        **portable({"identity": {**mapping(results.attrs.get("identity")), "value": value}}),
    }  # fmt: skip
    if "resample_mean" in gone and "resample_score" not in changed:
        attrs["no_intervals"] = (
            f"resamples of `{value}` are not kept, means of those of `score` are: show `score`, or "
            "compute the results again under another `label` with `resample_neuroids` larger than "
            "the number of neuroids"
        )
    # Averages are ratios of means: a low ceiling counts little.
    weights = ("neuroid", ceiling.fillna(0.0).to_numpy(), {"least": _LEAST_SHARE})
    found = bare.set_coords(is_coordinate).assign_coords({COUNT: weights}).assign_attrs(attrs)
    lost = int(ceiling.isnull().sum())
    told = f"{lost} of {ceiling.size} neuroids have no noise ceiling and no value"
    return found.assign_attrs(left_out=told) if lost else found


def _is_beside(name: str) -> bool:
    """Whether a variable speaks of the score, or of a value that takes its place."""
    own = name
    for start in _STARTS:
        own = own.removeprefix(start)
    return name in (*_STARTS.values(), "null_score", "p_value") or (
        own == "fold_score" or "resample_" in own
    )


def _with_resamples(
    results: xr.Dataset, value: str, about: Value, start: str, reliability: xr.DataArray | None
) -> dict[str, xr.DataArray]:
    """Return the level of a value and its resamples, under the names of the score's."""
    place, name = _STARTS[start], f"{start}{value}"
    # `baseline_r2` of a partition of variance is no baseline's, and has no layer.
    level: xr.DataArray | None
    if not start:
        level = results[value]
    elif about.square or about.levels:
        level = results.get(name)
        if level is None and about.square and place in results:
            level = _over(results[place].clip(min=0) ** 2, reliability)
    else:
        level = None
    if level is None:
        return {}
    found = {place: level}
    for what in ("score", "mean", "count"):
        if f"{name}_resample_{what}" in results:
            found[f"{start}resample_{what}"] = results[f"{name}_resample_{what}"]
    again = f"{start}resample_score"
    if about.square and again in results and again not in found:
        own = results[again]
        scheme = results["resample_score"].attrs if "resample_score" in results else own.attrs
        squares = squared(results[place], own.assign_attrs({**own.attrs, **_scheme(scheme)}))
        found[again] = _over(squares, reliability).assign_attrs(squares.attrs)
    return found


def _scheme(attrs: Mapping[str, Any]) -> dict[str, Any]:
    return {key: attrs[key] for key in ("spread", "paired", "correlation", "limit") if key in attrs}


def _over(squares: xr.DataArray, reliability: xr.DataArray | None) -> xr.DataArray:
    return squares if reliability is None else squares / reliability


def _reliability(results: xr.Dataset) -> xr.DataArray:
    """Return by what r2 was divided, neuroid by neuroid; NaN where nothing says, or it is low."""
    r2, corrected = results["r2"], results["r2_corrected"]
    dims = [dim for dim in r2.dims if dim != "neuroid"]
    # Of one number in many quotients the largest r2 has the least rounding.
    known_r2 = r2.where(corrected.notnull())
    found = known_r2.sum(dims) / corrected.sum(dims).where(lambda total: total > 0)
    return found.where(found >= LEAST_RELIABILITY * (1 - 1e-9))


# Means of quotients explode where their divisors are small: those of averages are ratios of means,
# and there is none where what has no quotient is more than a few (the rest is a choice by noise).
_LEAST_SHARE = 0.6


def _weighed(results: xr.Dataset, reliability: xr.DataArray) -> xr.Dataset:
    """Have every average of quotients be that of their numerators over that of their divisors."""
    if reliability.dims != ("neuroid",):
        return results
    lost, number = int(reliability.isnull().sum()), reliability.size
    weights = ("neuroid", reliability.fillna(0.0).to_numpy(), {"least": _LEAST_SHARE})
    told = f"{lost} of {number} neuroids have a reliability below {LEAST_RELIABILITY} and no value"
    results = results.assign_coords({COUNT: weights})
    return results.assign_attrs(left_out=told) if lost else results


def _ceiling(results: xr.Dataset, value: str, about: Value) -> Any:
    """Bring the ceiling to the unit of a value."""
    ceiling = results["ceiling"]
    if value == "r2_corrected":
        return xr.where(np.isfinite(ceiling) & (ceiling > 0), 1.0, np.nan)
    if about.levels:
        return None
    return ceiling**2 if about.square else ceiling

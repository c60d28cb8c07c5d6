"""What a store's results say: every curve of every target and metric with its statistics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from dynamics import emergence, metrics, plots
from dynamics.emergence import ends, views
from dynamics.emergence.aggregate import average, with_ceiling
from dynamics.emergence.aggregate import resampled as resampled_of
from dynamics.record import mapping
from dynamics.values import named

MEAN = "mean"
_UNITS = {"step", "layer", "neuroid", "subject"}
_MOST_NEUROIDS, _MOST_REGIONS = 20, 30
_WHEN = ("onset", "half_time", "plateau_step")
_LEVELS = ("gain", "final", "plateau", "area")


class Result(NamedTuple):
    """One target and metric of a store that can be shown as curves."""

    target: str
    metric: str
    data: xr.Dataset

    @property
    def identity(self) -> Mapping[str, Any]:
        """What was computed, as the store has it."""
        return mapping(self.data.attrs.get("identity"))

    @property
    def shown(self) -> str:
        """Label of the metric, with the value that is shown where that is not its score."""
        return named(self.metric, self.data)

    @property
    def is_probe(self) -> bool:
        """Whether it is a downstream task and no brain."""
        return self.identity.get("metric") == "probe"


class Curve(NamedTuple):
    """The curves of one group of neuroids, one a layer, and their statistics.

    Attributes
    ----------
    name : str
        Of the region or neuroid; "mean" for all together.
    what : str
        What is averaged, in words.
    score : xarray.DataArray
        Dimensions step and layer.
    low, high : xarray.DataArray
        Pointwise limits of 95 % as the figures draw them; NaN where there are none.
    resampled : xarray.DataArray or None
        The scores on resamples: with `resample` besides.
    over : str
        What the limits are over, and the resamples vary; empty without limits.
    statistics : xarray.Dataset
        See `statistics`; dimension layer.
    controls : int
        How many untrained networks stand in for a missing step 0; 0 where none do.
    above : tuple
        Curves and resamples from which gains count: less the controls' score where there are
        any, else as they are.
    """

    name: str
    what: str
    score: xr.DataArray
    low: xr.DataArray
    high: xr.DataArray
    resampled: xr.DataArray | None
    over: str
    statistics: xr.Dataset
    controls: int = 0
    above: views.Pair | None = None

    @property
    def gains(self) -> views.Pair:
        """Curves and resamples for statistics that count from the untrained level."""
        return (self.score, self.resampled) if self.above is None else self.above

    @property
    def known(self) -> dict[str, Any]:
        """Arguments of those statistics."""
        return {"baseline": xr.DataArray(0.0)} if self.controls else {}

    @property
    def best(self) -> str:
        """Layer with the highest score at the last step; the first one where none is known."""
        last = self.score.isel(step=-1).fillna(-np.inf)
        return str(self.score["layer"].to_numpy()[int(last.argmax("layer"))])


Found = list[tuple[Result, list[Curve]]]


def results_of(tree: xr.DataTree) -> tuple[list[Result], list[str]]:
    """Find the results of a store that are curves of scores.

    Parameters
    ----------
    tree : xarray.DataTree
        What `dynamics.open` returned.

    Returns
    -------
    results : list of Result
        Probes last, else sorted by name.
    left_out : list of str
        One sentence for each group that is not shown, with the reason.
    """
    found, left_out = [], []
    for path in sorted(tree.groups):
        parts = path.strip("/").split("/")
        if len(parts) != 3 or parts[0] != "results" or parts[1] == "self":
            continue
        data = tree[path].to_dataset()
        if "score" not in data or data.sizes.get("step", 0) == 0:
            left_out.append(f"{parts[1]} by {parts[2]} has no complete step yet.")
        elif not {"step", "layer"} <= set(data["score"].dims) <= _UNITS:
            dims = ", ".join(map(str, data["score"].dims))
            left_out.append(f"{parts[1]} by {parts[2]} is not a set of curves ({dims}).")
        else:
            found.append(Result(parts[1], parts[2], data))
    return sorted(found, key=lambda result: result.is_probe), left_out


def curves_of(result: Result) -> list[Curve]:
    """Return the mean curves of a result, then those of its neuroids or regions.

    Parameters
    ----------
    result : Result
        One target and metric.

    Returns
    -------
    list of Curve
        Single neuroids where there are at most 20, else regions where there are at most 30.
    """
    found = []
    for name, what, data in _groups(views.scored(result.data)):
        score, resampled, _ = plots.resampled_curve(data)
        _, low, high, over = plots.curve_and_band(data)
        score = score.transpose("step", "layer").load()
        levels = {key: plots.level(data, key) for key in ("baseline", "chance", *_CEILINGS)}
        known = {key: value for key, value in levels.items() if np.isfinite(value)}
        controls = int(data.sizes["control"]) if views.has_controls(data) else 0
        above = plots.resampled_curve(data, above="untrained")[:2] if controls else None
        start = views.untrained(data) if controls else None
        table = statistics(score, resampled, above=above, untrained=start, **known)
        table = _with_null(_with_paired_baseline(table, data), data)
        table = _of_same_neuroids(table, data, levels["ceiling"])
        found.append(Curve(name, what, score, low, high, resampled, over, table, controls, above))
    return found


def statistics(
    score: xr.DataArray,
    resampled: xr.DataArray | None = None,
    *,
    above: views.Pair | None = None,
    untrained: xr.DataArray | None = None,
    **levels: float,
) -> xr.Dataset:
    """Tabulate every statistic of curves, with limits where there are resamples.

    Parameters
    ----------
    score : xarray.DataArray
        Curves with the dimensions step and layer.
    resampled : xarray.DataArray, optional
        The same on resamples.
    above : tuple, optional
        Curves and resamples less the score of untrained networks, from which gains count then.
    untrained : xarray.DataArray, optional
        That score; by default there is none, and gains count from the first step.
    **levels : float
        `baseline`, `chance`, `ceiling`, `ceiling_lower`, `ceiling_upper`.

    Returns
    -------
    xarray.Dataset
        Dimension layer. `first` (the score from which gains count), `final`; of `onset`,
        `half_time`, `plateau_step`, `gain` (and ``gain_status``),
        `gain_over_baseline`, `plateau` and `area` the estimate, ``<name>_lower`` and
        ``<name>_upper``; ``<name>_status`` of the steps; `peak`, `peak_step`, `decline`,
        `decline_p`; `detected`, `detected_p`; `ceiling_fraction`; what cannot be known is NaN or
        left out.
    """
    first = score.isel(step=0, drop=True) if untrained is None else untrained
    table = xr.Dataset({"first": first})
    gains = (score, resampled) if above is None else above
    start: dict[str, Any] = {} if above is None else {"baseline": xr.DataArray(0.0)}
    baseline = levels.get("baseline")
    ceiling = next((levels[key] for key in _CEILINGS if key in levels), None)
    single = score.sizes["step"] < 2
    names = ("final",) if single else (*_WHEN, *_LEVELS)
    for name in names:
        if name in views.FROM_BASELINE:
            _put(table, name, _estimate(*gains, name, **start))
        else:
            _put(table, name, _estimate(score, resampled, name))
    if not single:
        table["gain_status"] = ends.status(gains[0], **start)
    if baseline is not None:
        level = xr.DataArray(baseline)
        _put(table, "gain_over_baseline", _estimate(score, resampled, "gain", baseline=level))
    if ceiling is not None:
        table["ceiling_fraction"] = emergence.ceiling_fraction(score, ceiling)
    if not single:
        top = emergence.peak(score)
        table = table.assign(peak=top["score"], peak_step=top["peak_step"], decline=top["decline"])
    if resampled is not None and gains[1] is not None and not single:
        onset = emergence.onset_test(gains[0], gains[1], **start)
        fall = emergence.decline_test(score, resampled)
        table = table.assign(
            detected=onset["detected"], detected_p=onset["detected_p"], decline_p=fall["p"]
        )
    return table.assign_attrs(levels)


def at_best_layers(curves: list[Curve]) -> tuple[xr.DataArray, xr.DataArray] | None:
    """Put the best layer of every curve side by side, to compare them.

    Parameters
    ----------
    curves : list of Curve
        Of one target and metric.

    Returns
    -------
    (score, resampled) or None
        As `Curve.gains`, with a dimension `curve`; None with fewer than two, without resamples,
        or where the resamples of one vary something else than those of another.
    """
    resamples = [again for _, again in (each.gains for each in curves) if again is not None]
    if len(curves) < 2 or len(resamples) < len(curves) or len({each.over for each in curves}) > 1:
        return None
    if len({again.sizes["resample"] for again in resamples}) > 1:
        return None
    # Where regions are of different numbers of subjects, the fewest have least to say.
    limit = min(emergence.Scheme.of(again).limit for again in resamples)
    names = xr.DataArray([each.name for each in curves], dims="curve", name="curve")

    def side_by_side(values: list[xr.DataArray]) -> xr.DataArray:
        chosen = [one.sel(layer=each.best, drop=True) for each, one in zip(curves, values)]
        return xr.concat(chosen, names)

    score = side_by_side([each.gains[0] for each in curves])
    return score, side_by_side(resamples).assign_attrs(resamples[0].attrs | {"limit": limit})


def _groups(data: xr.Dataset) -> Iterator[tuple[str, str, xr.Dataset]]:
    """Yield name, description and results of all neuroids together and of parts of them."""
    for dim in ("neuroid", "subject"):
        if dim in data["score"].dims:
            break
    else:
        yield MEAN, "", data
        return
    number = data["score"].sizes[dim]
    subjects = len(np.unique(data["subject"])) if "subject" in data else 1
    over = f"mean over {number} {dim}s" if number > 1 else f"one {dim}"
    if dim == "subject" and number == 1:
        over = "all neuroids together"
    if dim == "neuroid" and subjects > 1:
        over += f" of {subjects} subjects"
    yield MEAN, over, data
    if number < 2:
        return
    if dim == "neuroid" and number <= _MOST_NEUROIDS:
        for place, name in enumerate(data["neuroid"].to_numpy()):
            yield str(name), "one neuroid", data.isel(neuroid=[place])
    elif "region" in data.coords and 2 <= len(np.unique(data["region"])) <= _MOST_REGIONS:
        for name in np.unique(data["region"]):
            rows = np.flatnonzero(data["region"].to_numpy() == name)
            yield str(name), f"region, {len(rows)} {dim}s", data.isel({dim: rows})


def _of_same_neuroids(table: xr.Dataset, data: xr.Dataset, ceiling: float) -> xr.Dataset:
    """Take the part of the ceiling over the neuroids that have one, and say how many do."""
    kept = with_ceiling(data)
    if kept is data:
        return table
    part = emergence.ceiling_fraction(average(kept["score"]), ceiling)
    return table.assign(ceiling_fraction=part).assign_attrs(
        with_ceiling=kept.sizes["neuroid"], neuroids=data.sizes["neuroid"]
    )


_CEILINGS = ("ceiling", "ceiling_lower", "ceiling_upper")


def _estimate(score, resampled, name, **arguments) -> xr.Dataset:
    if resampled is None:
        return xr.Dataset({"estimate": getattr(emergence, name)(score, **arguments)})
    found = emergence.interval(score, resampled, statistic=name, **arguments)
    return found[["estimate", "lower", "upper"]]


def _put(table: xr.Dataset, name: str, found: xr.Dataset) -> None:
    if "status" in found.coords:
        table[f"{name}_status"] = found["status"].drop_vars("status")
        found = found.drop_vars("status")
    table[name] = found["estimate"]
    for side in ("lower", "upper"):
        if side in found:
            table[f"{name}_{side}"] = found[side]


def _with_paired_baseline(table: xr.Dataset, data: xr.Dataset) -> xr.Dataset:
    """Put limits of a difference where the baseline was scored on the same resamples."""
    if resampled_of(data) is None or resampled_of(data, of="baseline") is None:
        return table
    score, resampled, _ = plots.resampled_curve(data, above="baseline")
    table = table.copy()
    _put(table, "gain_over_baseline", _estimate(score, resampled, "final"))
    return table


def _with_null(table: xr.Dataset, data: xr.Dataset) -> xr.Dataset:
    """Add how many of the shuffled scores reach the score at the last step."""
    if "null_score" not in data:
        return table
    null = average(data["null_score"].isel(step=-1, drop=True))
    score = average(data["score"].isel(step=-1, drop=True))
    dim = next((str(d) for d in null.dims if d != "layer"), None)
    if dim is None:
        return table
    known = score.notnull() & null.notnull().all(dim)
    # The store keeps nulls in single precision, within which a shuffle that reaches a score ties.
    shuffled = null.transpose(dim, *score.dims).to_numpy().astype(np.float32)
    p = score.copy(data=metrics.p_value(score.to_numpy(), shuffled)).where(known)
    return table.assign(null_p=p, null_upper=null.quantile(0.95, dim).drop_vars("quantile"))

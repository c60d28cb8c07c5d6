"""What a store's results say: every curve of every target and metric with its statistics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from dynamics import emergence
from dynamics.analysis.values import named
from dynamics.emergence import STATISTICS, levels
from dynamics.emergence.best_layers import highest
from dynamics.emergence.curves import INITIALISATIONS, Pair, scored, units_of
from dynamics.emergence.last_step import is_single
from dynamics.report.numbers import unit
from dynamics.store.attributes import mapping

MEAN = "mean"
_UNITS = {"step", "layer", "neuroid", "subject"}
_MOST_NEUROIDS, _MOST_REGIONS = 20, 30


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
        As `dynamics.emergence.summary_of`, with the dimension layer and levels as attributes.
    controls : int
        How many untrained networks stand in for a missing step 0; 0 where none do.
    above : tuple
        Curves and resamples from which gains count: less the controls' score where there are
        any, else as they are.
    chosen : xarray.Dataset or None
        As `dynamics.emergence.summary_of_chosen`, of the best layer; None with a single one.
    fall : xarray.Dataset or None
        As `dynamics.emergence.fall_test`, of every layer, tested over all of them at once; None of
        one step.
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
    above: Pair | None = None
    chosen: xr.Dataset | None = None
    fall: xr.Dataset | None = None

    @property
    def gains(self) -> Pair:
        """Curves and resamples for statistics that count from the untrained level."""
        return Pair(self.score, self.resampled) if self.above is None else self.above

    @property
    def known(self) -> dict[str, Any]:
        """Arguments of those statistics."""
        return {"baseline": xr.DataArray(0.0)} if self.controls else {}

    @property
    def initialisations(self) -> bool:
        """Whether it is of several runs of one recipe, and not of one network."""
        return INITIALISATIONS in self.over

    @property
    def best(self) -> str:
        """Layer with the highest score at the last step; the first one where none is known."""
        return _best(self.score)


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
            left_out.append(f"{parts[1]} by {parts[2]} has no complete {unit()} yet.")
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
    return [_curve(*group) for group in _groups(scored(result.data))]


def mean_of(result: Result) -> Curve:
    """Return the mean curves of a result alone: the first of `curves_of`."""
    return _curve(*next(_groups(scored(result.data))))


def _best(score: xr.DataArray) -> str:
    return str(score["layer"].to_numpy()[int(highest(score.isel(step=-1)))])


def _curve(name: str, what: str, data: xr.Dataset) -> Curve:
    score, resampled, _ = emergence.resampled_curve(data)
    _, low, high, over = emergence.curve_and_band(data)
    controls = int(data.sizes["control"]) if levels.has_controls(data) else 0
    chosen = None
    if data.sizes["layer"] > 1:
        chosen = emergence.summary_of_chosen(data, _best(score), names=_names(data))
    above = Pair(*emergence.resampled_curve(data, above="untrained")[:2]) if controls else None
    fall = None
    if data.sizes["step"] > 1:
        gains, known = above or Pair(score, resampled), xr.DataArray(0.0) if controls else None
        among = "layer" if data.sizes["layer"] > 1 else ""
        fall = emergence.fall_test(*gains, baseline=known, among=among)
    return Curve(
        name,
        what,
        score.transpose("step", "layer").load(),
        low,
        high,
        resampled,
        over,
        _statistics(data),
        controls,
        above,
        chosen,
        fall,
    )


def _names(data: xr.Dataset) -> list[str]:
    """Return the statistics that results have."""
    kept = STATISTICS.items()
    if data.sizes["step"] < 2:
        return [name for name, record in kept if record.alone]
    if is_single(data):  # from the untrained network to it is no course
        return [name for name, record in kept if record.alone or name == "gain"]
    return list(STATISTICS)


def _statistics(data: xr.Dataset) -> xr.Dataset:
    """Tabulate `dynamics.emergence.STATISTICS`; levels and counts of neuroids are attributes."""
    table = emergence.summary_of(data, names=_names(data))
    known = {name: levels.level(data, name) for name in ("baseline", "chance", *_CEILINGS)}
    table.attrs = {name: value for name, value in known.items() if np.isfinite(value)}
    table.attrs |= {name: data.attrs[name] for name in _OF_SHUFFLES if name in data.attrs}
    kept = levels.with_ceiling(data)
    if kept is not data:
        table.attrs |= {"with_ceiling": kept.sizes["neuroid"], "neuroids": data.sizes["neuroid"]}
    return table


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
    if units_of(data) == INITIALISATIONS:
        over = f"mean over {subjects if dim == 'neuroid' else number} {INITIALISATIONS}"
    elif dim == "subject" and number == 1:
        over = "all neuroids together"
    if dim == "neuroid" and subjects > 1 and units_of(data) != INITIALISATIONS:
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


_OF_SHUFFLES = ("shuffled", "distinct_shuffles")
_CEILINGS = ("ceiling", "ceiling_lower", "ceiling_upper")

"""Whether training puts layers and times into the order of the auditory pathway.

A target may bring a map: a number of every neuroid, such as its distance from primary cortex, the
cortex's thickness or myelin, its timescale, or the place of its region in the pathway. What layers,
latencies and half-times have to do with it is said here, at every step (Raugel et al. 2025,
arXiv 2508.18226; Li et al. 2023, Nat Neurosci 26:2213).
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from dynamics.emergence.curves import over_in_words, pair, scored
from dynamics.emergence.intake import taken
from dynamics.emergence.intervals import bands
from dynamics.emergence.parts import parts, steps_by
from dynamics.emergence.resampling import stabilised

MAPS = ("distance", "order", "thickness", "myelin", "timescale", "expansion")
"""Coordinates of neuroids that are drawn as maps; functions take any other number by name."""

_DRAWS, _SHUFFLES = 500, 9999
_FEWEST = 10  # units of which a bootstrap's percentiles tell something


def maps_of(results: xr.Dataset) -> list[str]:
    """Name the maps that a target brought.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.

    Returns
    -------
    list of str
        Those of `MAPS` that take three values at least.
    """
    found = []
    for name, each in results.coords.items():
        if each.dims != ("neuroid",) or each.dtype.kind not in "fiu":
            continue
        if name in MAPS and len(_means(results, str(name))) > 2:
            found.append(str(name))
    return found


def spatial(results: xr.Dataset, name: str) -> xr.Dataset:
    """Correlate, at every step, the best layer of each region with a map.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and a metric with a score a neuroid.
    name : str
        The map, a coordinate of the neuroids; averaged over those of a region. Where a target has
        no regions every neuroid is one.

    Returns
    -------
    xarray.Dataset
        `estimate` (step), Pearson r over regions of the best layer's place and the map, NaN where
        all regions have one best layer; with resamples `lower` and `upper`, limits of 95 % over
        stimuli from the best layers of each half, open away from 0: where errors of scores make
        layers change places the correlation is weaker than that of scores without errors.
        Attributes `map`, `regions` (their number) and `over`.

    Raises
    ------
    ValueError
        If there is no such map, or it has fewer than three values.
    """
    from dynamics import metrics

    results = taken(results)
    unit, values = _unit(results), _checked(results, name)
    curve, again = pair(results, unit, "stimuli")
    keep = [label for label in curve[unit].to_numpy() if str(label) in values]
    far = np.array([values[str(label)] for label in keep])

    def of(scores: xr.DataArray, *first: str) -> xr.DataArray:
        table = scores.sel({unit: keep}).transpose(*first, "layer", unit)
        found = np.asarray(metrics.spatial_score(table.to_numpy().astype(float), far))
        coordinates = {dim: table[dim] for dim in first if dim in table.coords}
        return xr.DataArray(found, dims=first, coords=coordinates)

    score = of(curve, "step").assign_attrs(long_name="Spatial score (r)")
    attrs = {"map": name, "regions": len(keep), "over": ""}
    if again is None:
        return xr.Dataset({"estimate": score}, attrs=attrs)
    cloud = of(stabilised(curve, again), "step", "resample").assign_attrs(again.attrs)
    # A score of ranks of layers: nothing shrinks as it nears 1.
    found = bands(score, cloud.assign_attrs(correlation=0))
    attrs["over"] = over_in_words(results, "stimuli")
    return found[["estimate"]].assign(_open_outwards(found)).assign_attrs(attrs)


def temporal(results: xr.Dataset, *, seed: int = 0) -> xr.Dataset:
    """Correlate, at every step, the place of each layer with the latency that it predicts best.

    Parameters
    ----------
    results : xarray.Dataset
        Results of a metric over time, with `latency_score` (step, layer, latency, neuroid).
    seed : int
        Of the draws.

    Returns
    -------
    xarray.Dataset
        `estimate` (step), of the mean over neuroids within subjects and then over these, as
        `dynamics.metrics.temporal_score`; `lower` and `upper`, from 500 bootstraps of subjects
        where there are three at least, else of neuroids (percentiles: 95 %; NaN with fewer than
        ten, of which a bootstrap says too little), open away from 0 as those of `spatial`: other
        people or other neuroids, these sounds.
        Attributes `over` and `units`, how many are drawn from.

    Raises
    ------
    ValueError
        If the results have no scores by latency.
    """
    from dynamics import metrics

    if "latency_score" not in results or results.sizes.get("latency", 0) < 2:
        raise ValueError(
            "the results have no scores by latency: use those of a metric over time with several "
            "delays"
        )
    scores = taken(results)["latency_score"].transpose("step", "layer", "latency", "neuroid")
    subjects = scores.coords.get("subject")
    several = subjects is not None and len(np.unique(subjects)) > 2
    each = scores.groupby("subject").mean() if several else scores
    units = each.transpose("step", "layer", "latency", ...).to_numpy().astype(float)
    late = scores["latency"].to_numpy().astype(float)
    number = units.shape[-1]
    rng = np.random.default_rng(seed)
    rows = rng.integers(number, size=(_DRAWS, number))
    weights = np.stack([np.bincount(row, minlength=number) for row in rows]) / number
    there = np.isfinite(units)

    def of(weight: np.ndarray) -> np.ndarray:
        total = there @ weight
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = (np.where(there, units, 0.0) @ weight) / total
        return np.asarray(metrics.temporal_score(np.where(total > 0, mean, np.nan), late))

    drawn = np.array([of(weight) for weight in weights])
    known = np.isfinite(drawn).any(0)
    limits = np.full((2, drawn.shape[1]), np.nan)
    if number >= _FEWEST and known.any():
        limits[:, known] = np.nanquantile(drawn[:, known], (0.025, 0.975), axis=0)
    name = "Temporal score (r)"
    estimate = xr.DataArray(
        of(np.full(number, 1 / number)), dims="step", coords={"step": scores["step"]},
        attrs={"long_name": name},
    )  # fmt: skip
    # Where all layers predict one latency best there is no order, and nothing to be unsure of.
    limits[:, estimate.isnull().to_numpy()] = np.nan
    sides = {side: ("step", values) for side, values in zip(("lower", "upper"), limits)}
    attrs = {"over": "subjects" if several else "neuroids", "units": number}
    found = xr.Dataset({"estimate": estimate, **sides}, attrs=attrs)
    return found.assign(_open_outwards(found))


def along_map(results: xr.Dataset, name: str, *, seed: int = 0) -> xr.Dataset:
    """Compare when regions become brain-like with a map of them.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric along training.
    name : str
        The map, as in `spatial`.
    seed : int
        Of the shuffles of regions.

    Returns
    -------
    xarray.Dataset
        Along ``region``, those with a half-time or an open interval: `half_time`, `lower` and
        `upper` where there are resamples, each in the layer that ends best there; `layer`;
        and the map under its name. Attributes: `r`, Pearson correlation over regions of the map
        and log(1 + half-time), its `p`, the share of 9,999 shuffles of the regions in which it is
        as far from 0, and `regions`, how many have a half-time. Both are over regions: neighbouring
        ones are alike, which a shuffle does not know.

    Raises
    ------
    ValueError
        If there is no such map, or it has fewer than three values.
    """
    results = taken(results)
    unit, values = _unit(results), _checked(results, name)
    rows = []
    for label, part in parts(results, unit).items():
        if str(label) not in values:
            continue
        found, layer = steps_by(part, by=unit)
        at = found.isel({unit: 0}) if unit in found.dims else found
        rows.append(
            {
                "region": str(label),
                "half_time": float(at["estimate"]),
                "lower": float(at["lower"]) if "lower" in at else np.nan,
                "upper": float(at["upper"]) if "upper" in at else np.nan,
                "layer": layer,
                name: values[str(label)],
            }
        )
    table = {key: [row[key] for row in rows] for key in rows[0]}
    when = np.log1p(np.array(table["half_time"], float))
    far, known = np.array(table[name], float), np.isfinite(when)
    r, p = _correlated(when[known], far[known], seed)
    return xr.Dataset(
        {key: ("region", values) for key, values in table.items() if key != "region"},
        coords={"region": table["region"]},
        attrs={"map": name, "r": r, "p": p, "regions": int(known.sum())},
    )


def _open_outwards(found: xr.Dataset) -> dict[str, xr.DataArray]:
    """Limits of a correlation that errors weaken: nothing is said of how strong it is at most."""
    above = found["estimate"] >= 0
    return {
        "lower": found["lower"].clip(-1, 1).where(above, -1.0).where(found["lower"].notnull()),
        "upper": found["upper"].clip(-1, 1).where(~above, 1.0).where(found["upper"].notnull()),
    }


def _unit(results: xr.Dataset) -> str:
    has = "region" in results.coords and results["region"].dims == ("neuroid",)
    return "region" if has and len(np.unique(results["region"])) > 2 else "neuroid"


def _means(results: xr.Dataset, name: str) -> dict[str, float]:
    """Return the mean of a map in every region that has any, by name; different values alone."""
    labels = results[_unit(results)].to_numpy().astype(str)
    values = results[name].to_numpy().astype(float)
    found = {}
    for label in dict.fromkeys(labels):
        own = values[(labels == label) & np.isfinite(values)]
        if own.size:
            found[label] = float(own.mean())
    return found if len(set(found.values())) > 2 else {}


def _checked(results: xr.Dataset, name: str) -> dict[str, float]:
    if name not in results.coords or results[name].dims != ("neuroid",):
        known = ", ".join(maps_of(results)) or "none"
        raise ValueError(
            f"the target has no map {name!r} (there are: {known}): give its file a number of every "
            "neuroid under this name"
        )
    if not (found := _means(scored(results), name)):
        raise ValueError(f"the map {name!r} has fewer than three values: none can be correlated")
    return found


def _correlated(one: np.ndarray, other: np.ndarray, seed: int) -> tuple[float, float]:
    """Return Pearson r, and its p value from shuffles."""
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return np.nan, np.nan
    rng = np.random.default_rng(seed)
    a, b = (x - x.mean() for x in (one, other))
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    orders = rng.permuted(np.tile(np.arange(len(a)), (_SHUFFLES, 1)), axis=1)
    shuffled = np.abs(b[orders] @ a)
    r = float(a @ b)
    return r, float((1 + (shuffled >= abs(r) - 1e-12).sum()) / (1 + _SHUFFLES))

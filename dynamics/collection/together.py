"""What many runs show together: contrasts of groups, and brains against tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from dynamics import emergence, probes
from dynamics.collection.finals import paired
from dynamics.collection.opening import PROBE, Compared, Opened, some
from dynamics.config.collection import Collection
from dynamics.emergence.across_runs import contrast_runs, on_common_steps, permute_runs
from dynamics.emergence.best_layers import pick_layer
from dynamics.emergence.curves import pair
from dynamics.emergence.last_step import is_single, last_of
from dynamics.emergence.of_models import limits
from dynamics.emergence.resampling import stabilised
from dynamics.emergence.testing import benjamini_hochberg
from dynamics.plots import probes_of


class Contrasted(NamedTuple):
    """A contrast along training of one target and metric."""

    target: str
    metric: str
    label: str
    found: xr.Dataset


def contrasts_of(
    collection: Collection, every: Sequence[Compared], opened: Sequence[Opened]
) -> tuple[list[Contrasted], pd.DataFrame, list[str]]:
    """Contrast groups of runs along training, and in what they differ between listeners.

    Parameters
    ----------
    collection : Collection
        With a `contrast` of one coordinate of runs, or of one of runs and one of listeners.
    every : sequence of Compared
        The results.
    opened : sequence of Opened
        All runs.

    Returns
    -------
    found : list of Contrasted
        Of each target and metric, over stimuli and, where groups have replicates, over both.
    table : pandas.DataFrame
        A row a step; `p_adjusted` is the false discovery rate over the steps, `p_permutation` of
        exchanging runs.
    said : list of str
        Where there is none, and why.

    Raises
    ------
    ValueError
        If no target has the coordinate of listeners.
    """
    if not collection.contrast:
        return [], pd.DataFrame(), []
    (run_key, run_values), *rest = sorted(
        collection.contrast.items(), key=lambda item: not item[0].startswith("run.")
    )
    key = run_key.removeprefix("run.")
    listener = rest[0] if rest else None
    values = list(map(str, run_values))
    groups = {one.name: str(one.coordinates.get(key, "")) for one in opened}
    found, rows, said = [], [], []
    seen = False
    for each in every:
        if listener and not _has(each, listener[0].removeprefix("listener.")):
            continue
        seen = True
        try:
            made = _contrasts(each, groups, run_values, listener)
        except ValueError as error:
            said.append(f"no contrast of {each.target} by {each.metric}: {error}")
            continue
        for one in made:
            found.append(one)
            rows.append(steps_of(one))
        own = {name: one for name, one in each.results.items() if groups[name] in values}
        single = [name for name, one in own.items() if is_single(one)]
        if 0 < len(single) < len(own):
            said.append(
                f"the contrast of {each.target} by {each.metric} is of last scores alone, not "
                f"along training: {some(single)} have no course of training"
            )
    if listener and not seen:
        name = listener[0].removeprefix("listener.")
        raise ValueError(
            f"no target has the coordinate {name!r} of listeners that `contrast` names"
        )
    return found, pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(), said


def _has(each: Compared, key: str) -> bool:
    return any(key in results.coords or key in results.dims for results in each.results.values())


def _contrasts(
    each: Compared,
    groups: Mapping[str, str],
    values: Sequence[Any],
    listener: tuple[str, Sequence[Any]] | None,
) -> list[Contrasted]:
    first, second = map(str, values)
    names = [name for name in each.results if groups[name] in (first, second)]
    own = [groups[name] for name in names]
    by = listener[0].removeprefix("listener.") if listener else None
    curves, again = zip(*(_curve_of(each.results[name], by, listener) for name in names)) or (
        (),
        (),
    )
    single = any(is_single(each.results[name]) for name in names)
    curves, resampled = _together(curves, again, single, names)
    weights = {first: 1.0, second: -1.0}
    label = f"{first} − {second}"
    if listener:
        label = f"({label}) for {listener[1][0]} − {listener[1][1]}"
    many = min(own.count(first), own.count(second)) > 1
    found = []
    for over in ("stimuli", "both") if many else ("stimuli",):
        one = contrast_runs(curves, resampled, own, weights, over=over, paired=paired(each.results))
        if many:
            tested = permute_runs(curves, own, weights)
            one["p_permutation"] = tested["p"]
            one.attrs["assignments"] = tested.attrs["assignments"]
        found.append(Contrasted(each.target, each.metric, label, one))
    return found


def _curve_of(
    results: xr.Dataset, by: str | None, listener: tuple[str, Sequence[Any]] | None
) -> tuple[xr.DataArray, xr.DataArray | None]:
    """Return a run's curve in its best layer, or what it is more for one listener than another."""
    one, _ = pick_layer(results)
    curve, again = pair(one, by, "stimuli")
    again = None if again is None else stabilised(curve, again)
    if listener is None:
        return curve, again
    labels = [str(x) for x in curve[by].to_numpy()]
    places = []
    for value in listener[1]:
        if str(value) not in labels:
            raise ValueError(f"no listener has {by} = {value!r}: there are {', '.join(labels)}")
        places.append(labels.index(str(value)))
    attrs = {} if again is None else again.attrs

    def less(x: xr.DataArray) -> xr.DataArray:
        return x.isel({by: places[0]}, drop=True) - x.isel({by: places[1]}, drop=True)

    return less(curve), None if again is None else less(again).assign_attrs(attrs)


def _together(curves, again, single: bool, names: Sequence[str]):
    """Put curves beside each other on common steps; of single networks the last score alone."""
    if single:
        last = max(float(curve["step"][-1]) for curve in curves)
        curves = [curve.isel(step=[-1]).assign_coords(step=[last]) for curve in curves]
        again = [None if x is None else x.isel(step=[-1]).assign_coords(step=[last]) for x in again]
    run = xr.DataArray(list(names), dims="run", name="run")
    score = xr.concat(on_common_steps(curves), run, coords="minimal", compat="override")
    if any(x is None for x in again):
        return score, None
    attrs = again[0].attrs
    clouds = on_common_steps([x.transpose("resample", "step") for x in again])
    fewest = min(x.sizes["resample"] for x in clouds)
    clouds = [x.isel(resample=slice(fewest)) for x in clouds]
    cloud = xr.concat(clouds, run, coords="minimal", compat="override", combine_attrs="override")
    return score, cloud.assign_attrs(attrs)


def steps_of(one: Contrasted) -> pd.DataFrame:
    """Tabulate a contrast by step.

    Parameters
    ----------
    one : Contrasted
        A contrast along training.

    Returns
    -------
    pandas.DataFrame
        A row a step; `p_adjusted` is the false discovery rate over the steps.
    """
    found = one.found
    table = pd.DataFrame(
        {
            "target": one.target,
            "metric": one.metric,
            "contrast": one.label,
            "over": found.attrs["over"],
            "runs": found.attrs["runs"],
            "step": found["step"].to_numpy().astype(float),
            **{n: found[n].to_numpy() for n in ("estimate", "lower", "upper", "p")},
        }
    )
    table["p_adjusted"] = benjamini_hochberg(table["p"].to_numpy())
    if "p_permutation" in found:
        table["p_permutation"] = found["p_permutation"].to_numpy()
    return table


def brains_and_tasks(
    every: Sequence[Compared], opened: Sequence[Opened]
) -> tuple[list[tuple[Compared, xr.DataArray, xr.DataArray]], pd.DataFrame]:
    """Correlate last brain scores with the overall probe score over runs, and over checkpoints.

    The overall score is the mean over tasks of what each run's learned mix of layers scores at its
    last step, z-scored over the runs (*pepino*); where some run has no mix, of its best layer.

    Parameters
    ----------
    every : sequence of Compared
        The results.
    opened : sequence of Opened
        All runs.

    Returns
    -------
    pairs : list of (Compared, brain, task)
        Scores along `model`, to be drawn.
    table : pandas.DataFrame
        `r`, `p` and `n` over runs; and over the checkpoints of each run, with the training step
        partialled out besides.
    """
    trees = {one.name: one.tree for one in opened if one.tree is not None}
    probed = {name: tree for name, tree in trees.items() if probes_of(tree)}
    pairs, rows = [], []
    if len(probed) >= 4 and (task := _overall_last(probed)) is not None:
        for each in every:
            brain, _ = each.finals
            brain = brain.rename(run="model")
            one, other = xr.align(brain, task, join="inner")
            if one.sizes["model"] < 4:
                continue
            found = emergence.correlate(one, other, dim="model")
            pairs.append((each, one, other))
            rows.append(_correlated(each, "runs", "", found.isel(form=0), one.sizes["model"]))
    for name, tree in probed.items():
        task_curve = probes.overall(tree)
        for each in every:
            if name not in each.results or is_single(each.results[name]):
                continue
            best, layer = pick_layer(each.results[name])
            curve, _ = pair(best, None, "stimuli")
            if layer not in task_curve["layer"].to_numpy():
                continue
            common = np.intersect1d(curve["step"], task_curve["step"])
            if len(common) < 4:
                continue
            found = emergence.correlate(curve, task_curve.sel(layer=layer, drop=True))
            for place, form in enumerate(found["form"].to_numpy()):
                rows.append(
                    _correlated(each, f"checkpoints of {name}", str(form), found.isel(form=place),
                                len(common))
                )  # fmt: skip
    return pairs, pd.DataFrame(rows)


def _correlated(each: Compared, over: str, form: str, found: xr.Dataset, n: int) -> dict[str, Any]:
    return {"target": each.target, "metric": each.metric, "over": over, "form": form,
            "r": float(found["r"]), "p": float(found["p"]), "n": n}  # fmt: skip


def _overall_last(trees: Mapping[str, xr.DataTree]) -> xr.DataArray | None:
    """Return the overall score of every run at its last step, z-scored over the runs."""
    known = [set(probes_of(tree)) for tree in trees.values()]
    if not (tasks := sorted(set.intersection(*known))):
        return None
    each = {
        (name, task): tree[f"results/{task}/{PROBE}"].to_dataset()
        for name, tree in trees.items()
        for task in tasks
    }
    mixed = all("layer_mix_score" in results for results in each.values())
    last: dict[str, dict[str, xr.Dataset]] = {}
    for (name, task), results in each.items():
        if mixed:
            value = float(results["layer_mix_score"].dropna("step")[-1])
        else:
            step = last_of(results)
            value = float(np.nanmax(limits(step.score, None, step.scheme)[0]))
        one = xr.Dataset({"score": ("step", [value])}, coords={"step": [0]})
        last.setdefault(name, {})[f"results/{task}/{PROBE}"] = one
    small = {name: xr.DataTree.from_dict(own) for name, own in last.items()}
    found = probes.overall(small, tasks).isel(step=0, drop=True)
    text = f"Overall probe score of {len(tasks)} tasks (z over {len(trees)} runs)"
    return found.rename(run="model").assign_attrs(found.attrs | {"long_name": text})

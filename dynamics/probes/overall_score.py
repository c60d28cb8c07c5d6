"""One score of many tasks, to be compared with brain scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import xarray as xr

from dynamics.emergence.correlations import WITHIN_ONE_RUN


def overall(
    tree: xr.DataTree | Mapping[str, xr.DataTree],
    tasks: Sequence[str] | None = None,
    *,
    variable: str = "score",
) -> xr.DataArray:
    """Average the z-scored scores of tasks, as Pepino et al. (2025, arXiv 2511.16849) over models.

    Of several runs or models, each task has one mean and one deviation, over all of them: what one
    is better than another stays. Each model counts the same, however many steps it has. Of one
    run alone scores are z-scored over its own common steps (and layers), so that tasks of another
    range or metric count the same along its training; its mean is then 0 whatever the model, so
    `dynamics.emergence.correlate` refuses it over models: give all of them here. A task
    whose score never changes counts zero.

    Parameters
    ----------
    tree : xarray.DataTree or mapping of str to xarray.DataTree
        What `dynamics.open` returned; of several runs or models, by name.
    tasks : sequence of str, optional
        Labels of the tasks; by default all in the store, of several those that all have.
    variable : str
        ``"score"`` for every layer, ``"layer_mix_score"`` for the learned mix (the study's own).

    Returns
    -------
    xarray.DataArray
        Dimensions step and, for ``"score"``, layer; steps that all tasks have. Of several runs
        with `run` first, NaN at steps and layers that a run has not. What
        `dynamics.emergence.correlate` takes as the task score. The attribute `zscored_over` says
        over what.

    Raises
    ------
    ValueError
        If there is no run, no such task in a store, or it lacks the variable.
    """
    if isinstance(tree, xr.DataTree):
        found = _scores(tree, _tasks(tree, tasks, ""), variable)
        return _mean(found, found.expand_dims("run"), WITHIN_ONE_RUN, variable)
    if not tree:
        raise ValueError("there are no runs to compare: give stores by name")
    if tasks is None:
        every = [_known(each) for each in tree.values()]
        tasks = [task for task in every[0] if all(task in known for known in every)]
        if not tasks:
            raise ValueError("the runs have no task in common: probe them for the same ones")
    each = {
        name: _scores(one, _tasks(one, tasks, f" of {name!r}"), variable)
        for name, one in tree.items()
    }
    names = xr.DataArray(list(each), dims="run", name="run")
    found = xr.concat(list(each.values()), names, join="outer").sortby("step")
    over = f"{len(each)} runs: {', '.join(each)}" if len(each) > 1 else WITHIN_ONE_RUN
    return _mean(found, found, over, variable)


def _known(tree: xr.DataTree) -> list[str]:
    """Return the tasks that a store has probes of."""
    groups = (path.strip("/").split("/") for path in tree.groups)
    return sorted(
        parts[1]
        for parts in groups
        if len(parts) == 3 and parts[0] == "results" and parts[2] == "probe"
    )


def _tasks(tree: xr.DataTree, tasks: Sequence[str] | None, whose: str) -> list[str]:
    known = _known(tree)
    chosen = known if tasks is None else list(tasks)
    if lacking := [task for task in chosen if task not in known]:
        raise ValueError(
            f"the store{whose} has no probe of {lacking[0]!r}: there are {', '.join(known)}"
        )
    if not chosen:
        raise ValueError(f"the store{whose} has no probes: run `dynamics probe`")
    return chosen


def _scores(tree: xr.DataTree, tasks: Sequence[str], variable: str) -> xr.DataArray:
    """Return the scores of tasks at their common steps, along a dimension `task`."""
    found = []
    for task in tasks:
        results = tree[f"results/{task}/probe"].to_dataset()
        if variable not in results:
            raise ValueError(f"the probe of {task!r} has no variable {variable!r}: choose another")
        found.append(results[variable].load().reset_coords(drop=True))
    common = xr.align(*found, join="inner")
    return xr.concat(common, xr.DataArray(list(tasks), dims="task", name="task"))


def _mean(found: xr.DataArray, runs: xr.DataArray, over: str, variable: str) -> xr.DataArray:
    """Average over tasks after z-scoring with the moments of `runs`, every run of equal weight."""
    own = [dim for dim in runs.dims if dim not in ("run", "task")]
    mean = runs.mean(own).mean("run")
    number = runs.notnull().sum(["run", *own])
    power = ((runs - mean) ** 2).mean(own).mean("run") * number / (number - 1).where(number > 1)
    deviation = (power**0.5).fillna(0.0)
    z = (found - mean) / deviation.where(deviation > 1e-12, 1.0)
    tasks = ", ".join(map(str, found["task"].to_numpy()))
    return (
        z.mean("task")
        .rename("overall")
        .assign_attrs(
            description=f"mean of {variable} of {tasks}, z-scored over {over}"
            + (", so that its mean is 0 whatever the model" if over == WITHIN_ONE_RUN else ""),
            units="standard deviations",
            zscored_over=over,
        )
    )

"""One score of many tasks, to be compared with brain scores."""

from __future__ import annotations

from collections.abc import Sequence

import xarray as xr


def overall(
    tree: xr.DataTree, tasks: Sequence[str] | None = None, *, variable: str = "score"
) -> xr.DataArray:
    """Average the z-scored scores of tasks, as Pepino et al. (2025, arXiv 2511.16849) over models.

    Each task's scores are z-scored over all common steps (and layers), so that tasks of another
    range or metric count the same; a task whose score never changes counts zero.

    Parameters
    ----------
    tree : xarray.DataTree
        What `dynamics.open` returned.
    tasks : sequence of str, optional
        Labels of the tasks; by default all in the store.
    variable : str
        ``"score"`` for every layer, ``"layer_mix_score"`` for the learned mix (the study's own).

    Returns
    -------
    xarray.DataArray
        Dimensions step and, for ``"score"``, layer; steps that all tasks have. What
        `dynamics.emergence.correlate` takes as the task score.

    Raises
    ------
    ValueError
        If there is no such task in the store, or it lacks the variable.
    """
    groups = {path.strip("/") for path in tree.groups}
    known = sorted(
        path.split("/")[1]
        for path in groups
        if path.startswith("results/") and path.count("/") == 2
        if path.endswith("/probe")
    )
    tasks = known if tasks is None else list(tasks)
    if lacking := [task for task in tasks if task not in known]:
        raise ValueError(f"the store has no probe of {lacking[0]!r}: there are {', '.join(known)}")
    if not tasks:
        raise ValueError("the store has no probes: run `dynamics probe`")
    found = []
    for task in tasks:
        results = tree[f"results/{task}/probe"].to_dataset()
        if variable not in results:
            raise ValueError(f"the probe of {task!r} has no variable {variable!r}: choose another")
        found.append(results[variable].load())
    common = xr.align(*found, join="inner")
    mean = xr.concat([_z_scored(score) for score in common], "task").mean("task")
    return mean.rename("overall").assign_attrs(
        description=f"mean of z-scored {variable} of {', '.join(tasks)}",
        units="standard deviations",
    )


def _z_scored(score: xr.DataArray) -> xr.DataArray:
    deviation = float(score.std(ddof=1))
    return (score - score.mean()) / (deviation if deviation > 1e-12 else 1.0)

"""Do what is missing of every run of a collection, sharing sounds, targets and workers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from dynamics import cluster, faults, sounds
from dynamics.brains.targets import Loaded, load_brain
from dynamics.config import Collection, Run, Sweep
from dynamics.report import default_place
from dynamics.sweep import check, check_names, stages

_COMPUTED = ("crawl", "analyze", "probe")


class Done(NamedTuple):
    """A stage of a run that is done, or the reason why the run went no further.

    Attributes
    ----------
    run : Run
        Of the collection.
    stage : str
        As `dynamics.sweep.stages` names them; "kept" of a store without a sweep; "stopped".
    found : object
        What the stage returned, or the reason.
    """

    run: Run
    stage: str
    found: Any


def check_runs(collection: Collection) -> None:
    """Find what is wrong with the names and arguments in any run's sweep.

    Parameters
    ----------
    collection : Collection
        The runs.

    Raises
    ------
    ValueError, TypeError
        As `dynamics.sweep.check_names`, with the name of the run.
    """
    for run in collection.runs:
        if run.sweep is not None:
            try:
                check_names(run.sweep)
            except (ValueError, TypeError) as error:
                raise type(error)(f"run {run.name!r}: {error}") from None


def run_all(
    collection: Collection,
    *,
    scheduler: str | None = None,
    patience: float = cluster.PATIENCE,
    only: Sequence[str] = (),
) -> Iterator[Done]:
    """Do what is missing of each run; one that cannot go on leaves the others as they are.

    Parameters
    ----------
    collection : Collection
        Runs in whose sweeps `check_runs` finds nothing.
    scheduler : str, optional
        Address of a running dask scheduler, for all; by default one local cluster serves all.
    patience : float
        Seconds without a worker of the cluster that can work, after which it is given up.
    only : sequence of str
        Which figures of each run, as in `dynamics.plots.figures_of`.

    Yields
    ------
    Done
        Each stage of each run. Figures and report of a run are made where something of it is new,
        or it has none.

    Raises
    ------
    OSError, ImportError, MemoryError
        Where it is the machine's fault and not the run's: the next run would not fare better.
    """
    shared: dict[str, Any] = {}
    where: dict[str, Any] = {"scheduler": scheduler, "patience": patience, "only": only}
    with cluster.shared():
        for run in collection.runs:
            if run.sweep is None:
                yield Done(run, "kept", None)
                continue
            try:
                yield from _stages(run, run.sweep, where, shared)
            except (ValueError, TypeError, LookupError, OSError) as error:
                if faults.of_machine(error) is not None:
                    raise
                yield Done(run, "stopped", faults.sentence(error))


def _stages(
    run: Run, sweep: Sweep, where: Mapping[str, Any], shared: dict[str, Any]
) -> Iterator[Done]:
    loaded = check(sweep, known=_loaded(sweep, shared))
    last = "probe" if sweep.probes else "analyze" if _is_analyzed(sweep) else "crawl"
    new = 0
    for stage, found in stages(sweep, loaded=loaded, **where):
        yield Done(run, stage, found)
        new += found["new"] if stage in _COMPUTED else 0
        if stage == last and not new and _is_drawn(sweep):
            return


def _is_analyzed(sweep: Sweep) -> bool:
    return bool(sweep.targets or sweep.self_similarity)


def _is_drawn(sweep: Sweep) -> bool:
    return default_place(sweep.place).exists() if sweep.report else sweep.figures.exists()


def _loaded(sweep: Sweep, shared: dict[str, Any]) -> Loaded:
    """Load sounds and targets that no run before this one has had."""

    def once(key: Any, load: Callable[[], Any]) -> Any:
        text = json.dumps(key, sort_keys=True, default=str)
        if text not in shared:
            shared[text] = load()
        return shared[text]

    heard = [sweep.stimuli.name, sweep.stimuli.arguments]
    stimuli = once(heard, lambda: sounds.load(sweep.stimuli.name, **sweep.stimuli.arguments))
    brains = {
        each.label: once([heard, each.name, each.arguments], partial(load_brain, each, stimuli))
        for each in sweep.targets
    }
    return Loaded(stimuli, brains)

"""Targets and shuffles that workers are given once, and the tasks that are made of jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dynamics import analysis, store
from dynamics.analysis import baselines, controls
from dynamics.analysis.jobs import Job, key_of
from dynamics.analysis.scoring import Part
from dynamics.brains.targets import Target
from dynamics.config import Sweep

# Metrics and targets that the name of a task names.
_NAMED = 4


class Work:
    """Hands tasks to the workers, which are given every target and all shuffles once."""

    def __init__(self, client: Any, sweep: Sweep, targets: Mapping[tuple[str, int], Target]):
        self.client, self.sweep, self._targets = client, sweep, targets
        self._orders: dict[tuple[str, str], Any] = {}
        self._held: dict[tuple[str, int], Any] = {}

    def hand_out(self, jobs: Sequence[Job]) -> None:
        """Give the workers what these need."""
        for job in jobs:
            place, key = key_of(self.sweep, job.label, job.metric), (job.label, job.metric.label)
            if place not in self._held:
                self._held[place] = self.client.scatter(self._targets[place], hash=False)
            if key not in self._orders:
                scheme = store.made_with(job.group).get("shuffle")
                found = analysis.orders_of(self._targets[place], job.metric, self.sweep, scheme)
                given = None if found is None else self.client.scatter(found, hash=False)
                self._orders[key] = given

    def submit(
        self,
        function: Callable,
        *given: Any,
        task: Sequence[Job],
        called: str,
        shuffled: bool = True,
    ) -> Any:
        """Submit a function of `scoring.Part`, of targets and of their shuffles."""
        places = {place: number for number, place in enumerate(self._held)}
        orders = [self._orders[job.label, job.metric.label] if shuffled else None for job in task]
        parts = [
            Part(
                job.metric.name,
                analysis.given(job.metric),
                places[key_of(self.sweep, job.label, job.metric)],
                job.plan.rows,
                None if order is None else number,
                job.plan.together,
                job.plan.single,
                job.plan.folds,
            )
            for number, (job, order) in enumerate(zip(task, orders))
        ]
        held = list(self._held.values())
        by = " ".join(dict.fromkeys(f"{job.label} {job.metric.label}" for job in task[:_NAMED]))
        return self.client.submit(function, *given, parts, held, orders, called=f"{called} by {by}")


def with_levels(
    targets: Mapping[tuple[str, int], Target],
    jobs: Sequence[Job],
    sweep: Sweep,
    client: Any,
) -> Mapping[tuple[str, int], Target]:
    """Give what metrics of the jobs are compared with to the targets: baseline, controls.

    Parameters
    ----------
    targets : mapping of (str, int) to Target
        By label and number of folds.
    jobs : sequence of Job
        What is to be done.
    sweep : Sweep
        The sweep.
    client : Workers
        Who makes them.

    Returns
    -------
    mapping of (str, int) to Target
        The same, with what was asked for.
    """
    every = [analysis.find(job.metric.name, job.metric.arguments) for job in jobs]
    if any("baseline" in own.needs for own in every):
        features = client.submit(
            baselines.baseline_features, sweep, called="extract baseline"
        ).result()
        targets = {
            key: replace(target, baseline=features[target.rows].astype(float))
            for key, target in targets.items()
        }
    wanted = {
        control.label: control
        for own, job in zip(every, jobs)
        if "controls" in own.needs
        for control in controls.entries(job.metric.arguments.get("controls"))
    }
    if not wanted:
        return targets
    found = {
        label: client.submit(
            controls.course, control, sweep, called=f"extract control {label}"
        ).result()
        for label, control in wanted.items()
    }
    return {key: replace(target, controls=found) for key, target in targets.items()}

"""The command that says before a sweep what a target could show."""

from __future__ import annotations

import math
from typing import Annotated, Any

import typer

from dynamics.cli import readable
from dynamics.cli.console import Json, Plugins, load_plugins, out, told
from dynamics.cli.targets import (
    Arguments,
    Label,
    Source,
    Stimuli,
    loaded_target,
    read_arguments,
)

# Part of the noise ceiling that a trained network reaches, and of its score that an untrained one
# does, where nothing is said: about those of components of natural sounds.
_REACHED, _BEFORE = 0.6, 0.5


def power(
    source: Source,
    argument: Arguments = None,
    label: Label = "",
    stimuli: Stimuli = "",
    score: Annotated[
        float | None,
        typer.Option(help="correlation at the end of training (default: 0.6 of the noise ceiling)"),
    ] = None,
    untrained: Annotated[
        float | None, typer.Option(help="that of the untrained network (default: half of it)")
    ] = None,
    decades: Annotated[
        float, typer.Option(help="decades of steps from a tenth to nine tenths of the gain")
    ] = 2.0,
    halves: Annotated[
        int | None, typer.Option(help="halves of the stimuli (default: the sweep's `resamples`)")
    ] = None,
    chance: Annotated[float, typer.Option(help="with which probability it shall be seen")] = 0.8,
    as_json: Json = False,
    plugin: Plugins = None,
) -> None:
    """Say which gain and half-times a target could show.

    Example: dynamics power nh2015-components
    """
    from dynamics.emergence import power as forms

    load_plugins(plugin)
    data, _, sweep = loaded_target(source, read_arguments(argument or []), label, stimuli)
    known = _size(data)
    halves = halves or (sweep.resamples if sweep is not None and sweep.resamples else 50)
    last = _REACHED * known["ceiling"] if score is None else score
    first = _BEFORE * last if untrained is None else untrained
    design = forms.Design(known["stimuli"], known["independent"], last, first, decades, halves)
    seen = forms.visible(design, power=chance)
    if as_json:
        finite = {k: v if math.isfinite(v) else None for k, v in seen._asdict().items()}
        told({"target": known, "supposed": design._asdict(), "power": chance, "seen": finite})
        return
    for line in _lines(known, design, seen, chance):
        out.print(readable(line), soft_wrap=True, markup=False, highlight=False)


COMMANDS = (power,)


def _size(data: Any) -> dict[str, Any]:
    """Return how many stimuli and neuroids a target has, what these count as, and its ceiling."""
    from dynamics.brains.overview import overview
    from dynamics.emergence.power import size_of

    level = (overview(data).get("ceiling") or {}).get("median")
    known = level is not None and math.isfinite(level)
    return {
        "name": str(data.attrs.get("name", "target")),
        **size_of(data["response"]),
        "ceiling": level if known else 1.0,
        "repeated": known,
    }


def _lines(known: dict[str, Any], design: Any, seen: Any, chance: float) -> list[str]:
    reliable = (
        f"a median noise ceiling of {known['ceiling']:.2f}"
        if known["repeated"]
        else "no noise ceiling (no repetitions): taken as 1"
    )
    said = [
        f"{known['name']}: {known['stimuli']} stimuli, {known['neuroids']} neuroids that count as "
        f"{known['independent']:.1f} independent ones, {reliable}",
        f"supposed: a score of {design.score:.2f} at the end and {design.untrained:.2f} untrained, "
        f"{design.decades:g} decades of steps from a tenth to nine tenths of the gain, "
        f"{design.halves} halves",
        f"error of the mean score at the end: {seen.error:.3f}",
        f"a gain of {seen.gain:.3f} would be shown with a probability of {100 * chance:.0f} %",
    ]
    if math.isfinite(seen.ratio):
        said.append(
            f"so would one half-time {seen.ratio:.2f} times as late as another (error of each: "
            f"{seen.half_time:.2f} decades), in two curves before the same stimuli"
        )
    else:
        said.append("half-times would be open above: the supposed gain itself would not be shown")
    return [
        *said,
        "over other stimuli of these categories; for this network only, in these people",
    ]

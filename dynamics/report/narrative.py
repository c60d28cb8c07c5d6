"""Sentences that a reader can quote, made from the statistics of curves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from dynamics.emergence import STATISTICS
from dynamics.emergence.crossings import UNKNOWN
from dynamics.emergence.crossings import WORDS as UNKNOWN_WORDS
from dynamics.report.findings import Curve
from dynamics.report.numbers import (
    counted,
    level,
    levels_between,
    p_equals,
    step,
    steps_between,
    unit,
    units,
    with_limits,
)

LEVEL = 0.05


def about(curve: Curve, *, name: str = "", brief: bool = False, baseline: str = "baseline") -> str:
    """Describe the best layer's curve.

    Parameters
    ----------
    curve : Curve
        One group of neuroids.
    name : str
        What to call it; by default its name.
    brief : bool
        Only how it rises and whether it declines.
    baseline : str
        Name of the model without learning.

    Returns
    -------
    str
        Sentences.
    """
    found = numbers_of_best(curve)
    steps = curve.score["step"].to_numpy()
    said = [_rise((name or curve.name) + alone(curve), curve, found, steps)]
    if "half_time" in found:
        said += [] if brief else [_detection(found, start_of(curve)), _plateau(found, steps)]
        said.append(_decline(found, only_shown=brief or found["half_time_status"] == "no gain"))
        said.append(_fall(curve))
    if not brief:
        said += [_references(found, baseline), *_of_records(found)]
    return " ".join(sentence for sentence in said if sentence)


def numbers_of(curve: Curve, layer: str) -> dict[str, Any]:
    """Return the statistics of a curve in one layer as plain numbers and words.

    Parameters
    ----------
    curve : Curve
        One group of neuroids.
    layer : str
        A layer.

    Returns
    -------
    dict
        By name; and the constants (baseline, ceilings).
    """
    one = curve.statistics.sel(layer=layer)
    values = {str(name): one[name].to_numpy().item() for name in one.data_vars}
    return {**curve.statistics.attrs, **values, "layer": layer}


def numbers_of_best(curve: Curve) -> dict[str, Any]:
    """Return those of the best layer, limits and p values as of one that was chosen among all.

    Parameters
    ----------
    curve : Curve
        One group of neuroids.

    Returns
    -------
    dict
        As `numbers_of`; with several layers also `chosen_among`, how many.
    """
    found = numbers_of(curve, curve.best)
    if curve.chosen is None:
        return found
    own = {str(name): one.to_numpy().item() for name, one in curve.chosen.data_vars.items()}
    return {**found, **own, "chosen_among": curve.chosen.attrs["chosen_among"]}


def alone(curve: Curve) -> str:
    """Say that a curve is one network's; nothing where it is of several initialisations."""
    return "" if curve.initialisations else " (this network only)"


def start_of(curve: Curve) -> str:
    """Name the level from which gains count."""
    first = int(curve.score["step"][0])
    if curve.controls:
        return f"the mean of {curve.controls} untrained networks"
    return "the untrained network" if first == 0 else f"the first checkpoint, {unit()} {first:,}"


def _rise(name: str, curve: Curve, found: Mapping, steps: np.ndarray) -> str:
    where, last = _place(found), f"{steps[-1]:,}"
    final = with_limits(level(found["final"]), _levels(found, "final"))
    if len(steps) < 2:
        return (
            f"{name} scores {final} in {where} at {unit()} {last}, the only checkpoint: no curve."
        )
    first = level(found["first"])
    origin = "untrained" if steps[0] == 0 or curve.controls else f"at {unit()} {steps[0]:,}"
    gain = f"a gain of {with_limits(level(found['gain']), _levels(found, 'gain'))}"
    if "half_time" not in found:
        return f"{name} scores {final} in {where}, {gain} over the {first} of the {origin} network."
    status = found["half_time_status"]
    if status in UNKNOWN:
        return f"{name} {counted(UNKNOWN_WORDS[status])} in {where}."
    if status == "no gain":
        verdict = "falls" if found.get("gain_upper", math.nan) < 0 else "shows no gain"
        change = with_limits(level(found["gain"]), _levels(found, "gain"))
        return (
            f"{name} {verdict} in {where}: {first} {origin}, "
            f"{level(found['final'])} at {unit()} {last}, a change of {change}."
        )
    way = f"rises from {first} ({origin}) to {level(found['final'])} ({unit()} {last})"
    limits = steps_between(found.get("half_time_lower", math.nan), _upper(found, "half_time"))
    when = with_limits(step(found["half_time"]), limits)
    if curve.resampled is not None and math.isinf(_upper(found, "half_time")):
        return (
            f"{name} is not shown to gain in {where}: it {way}, {gain}; its half-time, "
            f"{unit()} {when}, has an interval that is open above."
        )
    if status == "not reached":
        return f"{name} {way} in {where}, {gain}; half of it is not reached."
    if status == "from the start":
        return f"{name} is half-way from the first checkpoint on in {where}: it {way}, {gain}."
    none = "" if limits else ", without an interval as there are no resamples"
    return f"{name} is half-way at {unit()} {when} in {where}{none}: it {way}, {gain}."


def _place(found: Mapping) -> str:
    """Name a layer, and how many it was chosen among."""
    if (among := found.get("chosen_among", 1)) < 2:
        return str(found["layer"])
    return f"{found['layer']} (the highest of {among} at the end)"


def _detection(found: Mapping, start: str) -> str:
    if not math.isfinite(found.get("detected_p", math.nan)):
        return ""
    over = f"{units()} and layers" if found.get("chosen_among", 1) > 1 else units()
    p = f"smallest {p_equals(found['detected_p'])}, corrected over {over}"
    if math.isfinite(found["detected"]):
        return (
            f"The first {unit()} at which it is shown to be above {start} is "
            f"{step(found['detected'])} ({p})."
        )
    return f"At no {unit()} is it shown to be above {start} ({p})."


def is_shown(one: Mapping) -> bool:
    """Whether a curve has a half-time with an end: else its gain itself is not shown."""
    return math.isfinite(one.get("half_time", math.nan)) and math.isfinite(_upper(one, "half_time"))


def _plateau(found: Mapping, steps: np.ndarray) -> str:
    status = found["plateau_step_status"]
    low = found.get("plateau_step_lower", math.nan)
    if status == "still rising":
        bound = f"; a plateau before {unit()} {step(low)} is excluded" if low > steps[0] else ""
        return f"It is still rising at the end{bound}."
    if status != "reached":
        return ""
    upper = _upper(found, "plateau_step")
    when = with_limits(step(found["plateau_step"]), steps_between(low, upper))
    after = ", but that it still rises is not excluded" if math.isinf(upper) else ""
    return f"Its plateau of {level(found['plateau'])} begins at {unit()} {when}{after}."


def _decline(found: Mapping, *, only_shown: bool) -> str:
    p = found.get("decline_p", math.nan)
    top = f"peaks at {level(found['peak'])} at {unit()} {step(found['peak_step'])}"
    lost = f"{level(found['decline'])} by the last {unit()}"
    if math.isfinite(p) and p <= LEVEL:
        return f"It {top} and then declines, by {lost} ({p_equals(p)})."
    if only_shown or not found["decline"] >= 0.005:
        return ""
    known = f" ({p_equals(p)}: not shown to be more than noise)" if math.isfinite(p) else ""
    return f"It {top} and loses {lost}{known}."


def _fall(curve: Curve) -> str:
    """Say that a curve is below where it began at some step, where that is shown."""
    if curve.fall is None or "fall_p" not in curve.fall:
        return ""
    at = curve.fall.sel(layer=curve.best)
    p = float(at["fall_p"])
    if not p <= LEVEL:
        return ""
    return (
        f"It falls below {start_of(curve)}, by {level(float(at['fall']))} at {unit()} "
        f"{step(float(at['fall_step']))} ({p_equals(p)}, corrected over {units()} and layers)."
    )


def _references(found: Mapping, baseline: str) -> str:
    said = []
    over = found.get("gain_over_baseline", math.nan)
    if math.isfinite(over):
        low, high = (found.get(f"gain_over_baseline_{side}", over) for side in ("lower", "upper"))
        off = with_limits(level(over), _levels(found, "gain_over_baseline"))
        which = f"the {baseline} baseline of {level(found['baseline'])} ({off})"
        if low <= 0 <= high:
            said.append(f"Its last score is not shown to differ from {which}.")
        else:
            said.append(f"It ends {'above' if over > 0 else 'below'} {which}.")
    over = found.get("gain_over_permuted", math.nan)
    if math.isfinite(over):
        low = found.get("gain_over_permuted_lower", over)
        off = with_limits(level(over), _levels(found, "gain_over_permuted"))
        verdict = "is" if low > 0 else "is not shown to be"
        said.append(f"It {verdict} above the same network with permuted weights ({off}).")
    part = found.get("ceiling_fraction", math.nan)
    if math.isfinite(part):
        which = "the noise ceiling" if "ceiling" in found else "the noise ceiling's lower bound"
        some = ""
        if "with_ceiling" in found:
            number = f"{found['with_ceiling']:.0f} of {found['neuroids']:.0f} neuroids"
            some = f", both over the {number} that have one and a score"
        said.append(f"It ends at {100 * part:.0f} % of {which}{some}.")
    null = found.get("null_p", math.nan)
    if math.isfinite(null):
        verdict = "is" if null <= LEVEL else "is not shown to be"
        few = f"; only {n} of them are distinct" if (n := found.get("distinct_shuffles")) else ""
        said.append(
            f"Its last score {verdict} above those of {found.get('shuffled', 'shuffled stimuli')} "
            f"({p_equals(null)}{few})."
        )
    if "chance" in found:
        said.append(f"Chance is {level(found['chance'])}.")
    return " ".join(said)


def _of_records(found: Mapping) -> list[str]:
    """Say what records of statistics have a sentence for."""
    return [
        counted(record.sentence).format(value=with_limits(level(found[name]), _levels(found, name)))
        if record.unit != "step"
        else counted(record.sentence).format(
            value=with_limits(
                step(found[name]),
                steps_between(found.get(f"{name}_lower", math.nan), _upper(found, name)),
            )
        )
        for name, record in STATISTICS.items()
        if record.sentence and math.isfinite(found.get(name, math.nan))
    ]


def _levels(found: Mapping, name: str) -> str:
    return levels_between(
        found.get(f"{name}_lower", math.nan), found.get(f"{name}_upper", math.nan)
    )


def _upper(found: Mapping, name: str) -> float:
    return found.get(f"{name}_upper", math.nan)

"""What a brain target holds, in numbers and in words: for whoever is about to use it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr

from dynamics.brains.loading import ceiling, folders_differ
from dynamics.sounds import StimulusSet
from dynamics.sounds.audio import without_suffix

_NAMED = 5
_EDGE = 0.02  # seconds by which a sound and its responses may differ in length unsaid


def overview(data: xr.Dataset, stimuli: StimulusSet | None = None) -> dict[str, Any]:
    """Count and measure what a target holds.

    Parameters
    ----------
    data : xarray.Dataset
        A target as `dynamics.brains.load` returns it.
    stimuli : StimulusSet, optional
        Sounds to match it with.

    Returns
    -------
    dict
        Of JSON types: ``name``, ``description``, ``simulated``, ``units``; ``sizes`` of the
        dimensions; ``subjects`` and ``regions`` with how many neuroids each has; ``stimuli``:
        names ``without_a_sound`` and ``without_a_response``, how many are ``matched`` and how far
        responses reach ``past_the_sound`` (seconds, below 0 where they end before it); ``time``:
        ``rate`` (Hz; none where steps are uneven), where it ``begins`` and ``ends`` (seconds after
        the onset), ``shortest`` and ``longest`` response (seconds to the last sample with one);
        ``gaps``: ``missing`` (part of the samples within a response that are not there),
        ``stimuli`` with such, ``neuroids`` without any response, ``constant`` ones;
        ``repetitions``: ``fewest`` and ``most`` of a stimulus; ``ceiling``: ``lowest``, ``median``
        and ``highest`` correlation, and how many neuroids are ``without``.
    """
    response = data["response"].transpose("stimulus", ..., "neuroid")
    names = data["stimulus"].to_numpy().astype(str).tolist()
    found: dict[str, Any] = {
        key: data.attrs.get(key, "") for key in ("name", "description", "units")
    }
    found["simulated"] = bool(data.attrs.get("simulated", 0))
    found["sizes"] = {str(dim): int(size) for dim, size in data["response"].sizes.items()}
    for label in ("subject", "region"):
        if label in data.coords:
            values, counts = np.unique(data[label].to_numpy().astype(str), return_counts=True)
            found[f"{label}s"] = dict(zip(values.tolist(), counts.tolist()))
    there = response.notnull()
    several = [dim for dim in ("neuroid", "repetition") if dim in response.dims]
    found["gaps"] = _gaps(response, there)
    ends = None
    if "time" in response.dims:
        heard = there.any(several).to_numpy()
        found["time"], ends = _time(data, heard)
    if stimuli is not None:
        found["stimuli"] = _matched(names, stimuli, ends)
    if "repetition" in response.dims:
        dims = [dim for dim in response.dims if dim not in ("stimulus", "repetition")]
        counts = there.any(dims).sum("repetition").to_numpy()
        found["repetitions"] = {"fewest": int(counts.min()), "most": int(counts.max())}
    if (known := _ceiling(data)) is not None:
        found["ceiling"] = known
    return found


def _time(data: xr.Dataset, heard: np.ndarray) -> tuple[dict[str, Any], np.ndarray | None]:
    """Describe the time axis; and the time at which the response to every stimulus ends."""
    if "time" not in data.coords or data.sizes["time"] < 2:
        return {"rate": None}, None
    times = data["time"].to_numpy().astype(float)
    steps = np.diff(times)
    even = (steps > 0).all() and np.ptp(steps) <= 0.01 * steps.mean()
    lengths = np.where(heard.any(1), heard.shape[1] - heard[:, ::-1].argmax(1), 0)
    step = float(steps.mean())
    known = lengths[lengths > 0]
    found = {
        "rate": 1 / step if even else None,
        "begins": float(times[0]),
        "ends": float(times[-1]),
        "shortest": float(known.min() * step) if len(known) else 0.0,
        "longest": float(known.max() * step) if len(known) else 0.0,
    }
    return found, np.where(lengths > 0, times[np.maximum(lengths - 1, 0)] + step / 2, np.nan)


def _gaps(response: xr.DataArray, there: xr.DataArray) -> dict[str, Any]:
    """Count what is missing within responses: not past the end of a shorter one."""
    found: dict[str, Any] = {}
    silent = ~there.any([dim for dim in there.dims if dim != "neuroid"]).to_numpy()
    names = response["neuroid"].to_numpy().astype(str)
    if silent.any():
        found["neuroids"] = names[silent].tolist()
    others = [dim for dim in response.dims if dim != "neuroid"]
    flat = (response.max(others) == response.min(others)).to_numpy()
    if flat.any():
        found["constant"] = names[flat].tolist()
    within = there.any([dim for dim in there.dims if dim not in ("stimulus", "time", "repetition")])
    if "time" in there.dims:
        # From the first sample of a trial to its last.
        axis = within.get_axis_num("time")
        values = within.to_numpy()
        after = np.maximum.accumulate(values, axis)
        before = np.flip(np.maximum.accumulate(np.flip(values, axis), axis), axis)
        within = within.copy(data=after & before)
    wanted = within & xr.DataArray(~silent, dims="neuroid")
    lost = (wanted & ~there).transpose(*there.dims)
    if number := int(lost.sum()):
        by = lost.any([dim for dim in lost.dims if dim != "stimulus"]).to_numpy()
        found["missing"] = number / max(int(wanted.sum()), 1)
        found["stimuli"] = response["stimulus"].to_numpy()[by].astype(str).tolist()
    if (empty := ~there.any([d for d in there.dims if d != "stimulus"]).to_numpy()).any():
        found["without_response"] = response["stimulus"].to_numpy()[empty].astype(str).tolist()
    return found


def _matched(names: list[str], stimuli: StimulusSet, ends: np.ndarray | None) -> dict[str, Any]:
    sounds = {without_suffix(name): place for place, name in enumerate(stimuli.names)}
    mine = [without_suffix(name) for name in names]
    matched = [place for place, name in enumerate(mine) if name in sounds]
    found: dict[str, Any] = {
        "matched": len(matched),
        "without_a_sound": [name for name in mine if name not in sounds],
        "without_a_response": [name for name in sounds if name not in set(mine)],
    }
    if not matched and (told := folders_differ(mine, list(sounds))):
        found["hint"] = told
    if ends is not None and matched:
        lasts = np.array([stimuli.durations[sounds[mine[place]]] for place in matched])
        past = (ends[matched] - lasts)[np.isfinite(ends[matched])]
        if len(past):
            found["past_the_sound"] = {"least": float(past.min()), "most": float(past.max())}
    return found


def _ceiling(data: xr.Dataset) -> dict[str, Any] | None:
    if "ceiling" in data.coords:
        values = data["ceiling"].to_numpy().astype(float)
    elif data.sizes.get("repetition", 1) > 1:
        values = ceiling(data).to_numpy()
    else:
        return None
    known = values[np.isfinite(values)]
    if not len(known):
        return {"without": len(values)}
    return {
        "lowest": float(known.min()),
        "median": float(np.median(known)),
        "highest": float(known.max()),
        "without": int(len(values) - len(known)),
    }


def in_words(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Put an overview into terms and descriptions.

    Parameters
    ----------
    found : mapping
        From `overview`.

    Yields
    ------
    (str, str)
        Such as ``("rate", "100 Hz")``.
    """
    kind = " (simulated)" if found["simulated"] else ""
    yield "target", f"{found['name']}{kind}: {found['description']}".removesuffix(": ")
    yield (
        "size",
        ", ".join(f"{size:,} {_plural(dim, size)}" for dim, size in found["sizes"].items()),
    )
    for label in ("subjects", "regions"):
        if label in found:
            yield label, _counted(found[label])
    yield from _time_in_words(found.get("time"))
    yield from _stimuli_in_words(found.get("stimuli"))
    yield "gaps", "; ".join(_gaps_in_words(found["gaps"], found["sizes"])) or "none"
    again = found.get("repetitions")
    if again is None:
        yield "repetitions", "none"
    else:
        some = f"{again['fewest']} to {again['most']}" if again["fewest"] < again["most"] else ""
        yield "repetitions", f"{some or again['most']} of a stimulus"
    known = found.get("ceiling")
    if known is None:
        yield "noise ceiling", "not known: it takes repetitions"
    elif "median" not in known:
        yield "noise ceiling", "no neuroid has one: repetitions do not agree"
    else:
        less = f", {known['without']} neuroids have none" if known["without"] else ""
        yield (
            "noise ceiling",
            f"r = {known['lowest']:.3f} to {known['highest']:.3f} (median {known['median']:.3f})"
            + less,
        )


def _time_in_words(time: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    if time is None:
        yield "time", "none: one response a stimulus"
        return
    if "begins" not in time:
        yield "time", "an axis without times: add a coordinate `time` in seconds"
        return
    if time["rate"] is None:
        yield "time", "samples in uneven steps: resample it to even ones"
    else:
        yield "rate", f"{time['rate']:.6g} Hz"
    yield "time axis", (f"{time['begins']:g} to {time['ends']:g} s after the sound's onset"
                        .replace("-", "−"))  # fmt: skip
    if time["shortest"] == time["longest"]:
        yield "length", f"{time['longest']:.6g} s each"
    else:
        yield "length", f"{time['shortest']:.6g} to {time['longest']:.6g} s"


def _stimuli_in_words(found: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    if found is None:
        return
    said = [f"{found['matched']} have a sound"]
    for key, words in (("without_a_sound", "have none"), ("without_a_response", "sounds more")):
        if found[key]:
            said.append(f"{len(found[key])} {words} ({_some(found[key])})")
    yield "stimuli", "; ".join(said)
    if "hint" in found:
        yield "names", found["hint"]
    past = found.get("past_the_sound")
    if past:
        yield "and sounds", _past_in_words(past)


def _past_in_words(past: Mapping[str, float]) -> str:
    least, most = past["least"], past["most"]
    if max(abs(least), abs(most)) <= _EDGE:
        return "responses end with their sounds"
    if least >= -_EDGE:
        return f"responses go on for {_span(max(least, 0), most)} after their sounds"
    if most <= _EDGE:
        short = _span(max(-most, 0), -least)
        return f"responses end {short} before their sounds, whose rest is not used"
    return f"responses end from {-least:.2f} s before their sounds to {most:.2f} s after them"


def _span(low: float, high: float) -> str:
    first, last = f"{low:.2f}", f"{high:.2f}"
    return f"{last} s" if first == last else f"{first} to {last} s"


def _gaps_in_words(gaps: Mapping[str, Any], sizes: Mapping[str, int]) -> Iterator[str]:
    if "missing" in gaps:
        yield (
            f"{100 * gaps['missing']:.2g} % of the samples within responses are missing, in "
            f"{len(gaps['stimuli'])} of {sizes['stimulus']} stimuli ({_some(gaps['stimuli'])})"
        )
    if "without_response" in gaps:
        names = gaps["without_response"]
        yield f"{len(names)} stimuli have no response ({_some(names)})"
    for key, words in (("neuroids", "have no response"), ("constant", "do not vary")):
        if key in gaps:
            yield f"{len(gaps[key])} neuroids {words} ({_some(gaps[key])})"


def _counted(counts: Mapping[str, int]) -> str:
    shown = [f"{name} ({number:,})" for name, number in list(counts.items())[:_NAMED]]
    return ", ".join(shown) + (f" and {len(counts) - _NAMED} more" if len(counts) > _NAMED else "")


def _plural(dim: str, number: int) -> str:
    words = {"stimulus": "stimuli", "time": "samples"}
    return dim if number == 1 and dim != "time" else words.get(dim, f"{dim}s")


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")

"""What the arguments of a metric over time come to for a target, in words for the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dynamics.analysis.stretches import setting
from dynamics.brains.targets import Target
from dynamics.metrics.latencies import windows_of


def of_delays(arguments: Mapping[str, Any], target: Target) -> dict[str, str]:
    """Tell the delays and the split of `encode_timeresolved`."""
    rate, t = _rate(target), len(target.times if target.times is not None else ())
    folds = len(set(target.folds.tolist()))
    return {
        "details": f"Predicted are {t} samples of each of {len(target.rows)} responses, "
        f"{rate:.6g} a second, from activations {delays(arguments['windows'], rate)} earlier; "
        f"folds are {folds} sets of stimuli, never single samples, and a stimulus is whole in one. "
        "Delay window and penalty are chosen inside the training folds (after Li et al. 2023).",
        "cites": "li",
    }


def of_continuous(arguments: Mapping[str, Any], target: Target) -> dict[str, str]:
    """Tell what `encode_continuous` predicts, from which delays, how it is split and resampled."""
    rate, lengths = target.rate, target.lengths
    shortest, longest = (f"{number / rate:.3g}" for number in (min(lengths), max(lengths)))
    each = f"{shortest} s each" if shortest == longest else f"{shortest} to {longest} s"
    what = (
        f"Predicted are {sum(lengths):,} samples of {len(lengths)} responses ({each}), "
        f"{rate:.4g} a second"
    )
    if arguments["protocol"] == "lebel":
        return {
            "details": f"{what}. The first 10 and last 5 volumes of each story are left out, and "
            "delays of 1 to 4 volumes reach into the story before, as in the study."
        }
    found = setting(arguments, target)
    split = found.split
    count = int(max(fold.max() for fold in split.folds)) + 1
    if all(fold.min() == fold.max() for fold in split.folds):
        folds = f"Folds are {count} sets of whole stimuli"
    else:
        block = arguments["block"] or max(30.0, 20 / rate)
        folds = (
            f"Folds are {count} sets of blocks of {block:g} s, and training keeps "
            f"{found.reach / rate:.3g} s (the longest delay and a guard of {found.guard:.3g} s) "
            "away from every test block"
        )
    heard = "activations"
    if arguments["hrf"] != "none":
        heard += f" convolved with the {arguments['hrf']} haemodynamic response,"
    ends = [float(seconds) for seconds in arguments["trim"]]
    less = (
        f" The first {ends[0]:g} and last {ends[1]:g} s of each response are left out."
        if any(ends)
        else ""
    )
    ceiling = (
        ""
        if target.repeated is None
        else " The noise ceiling is CC_max, from the signal power of repetitions (Hsu et al. 2004; "
        "Schoppe et al. 2016)."
    )
    units = int(max(unit.max() for unit in split.units)) + 1
    stretch = sum(lengths) / rate / units
    return {
        "details": f"{what}, from {heard} {delays(found.windows, rate)} earlier.{less} {folds}; "
        "layer, delay window and penalty are chosen inside the training folds, on the same kind of "
        "split (after Li et al. 2023). The score is over all samples of the predictions of folds "
        f"that were held out.{_CHOICES.get(arguments['refits'], '')}{ceiling}",
        "cites": "li" if target.repeated is None else "li hsu schoppe",
        "halves": "stimuli"
        if units == len(lengths)
        else f"{units} stretches of sound (of {stretch:.2g} s on average)",
    }


def of_windows(arguments: Mapping[str, Any], target: Target) -> dict[str, str]:
    """Tell the windows and the activations of `rsa_time` and `cka_time`."""
    assert target.times is not None  # `check_fit` has looked
    found = windows_of(target.times, arguments["window"], arguments["step"])
    length, rate = found.length, _rate(target)
    some = "a sample" if length == 1 else f"{length} samples"
    every = f"{len(found.centres)} windows of {some} ({length / rate:.3g} s)"
    last = _signed(f"{found.centres[0]:.3g} to {found.centres[-1]:.3g} s")
    how = "Activations are averaged over each sound"
    if arguments["activations"] == "time":
        lag = arguments["lag"]
        early = f", {lag:g} s before the responses" if lag else " as the responses"
        how = f"Activations are averaged over the same windows{early}"
    before = (found.centres < 0).any()
    counted = "those from the onset on count" if before else "all count"
    return {
        "details": f"The responses are cut into {every}, centred {last} after the onset, of which "
        f"{counted}. {how}; a latency at which fewer than 10 stimuli can be compared has no score."
        + (_CROSSED if arguments["cross"] else ""),
        "cites": "king" if arguments["cross"] else "",
    }


_CHOICES = {
    "kept": " On halves models are fitted anew with the window and penalty that each fold has on "
    "all sound.",
    "anew": " On halves window and penalty are chosen anew as well.",
}
_CROSSED = (
    " Every window of the sound is compared with every window of the responses as well (King & "
    "Dehaene 2014)."
)


def delays(windows: Any, rate: float) -> str:
    """Put windows of delays into words: the shortest to the longest, and how many windows."""
    pairs = [(float(start), float(end)) for start, end in windows]
    low, high = min(start for start, _ in pairs), max(end for _, end in pairs)
    many = f" ({len(pairs)} windows)" if len(pairs) > 1 else ""
    if low == high:
        return f"{high:g} s{many}"
    return f"{low:g} to {high:g} s{many}, a delay every {1 / rate:.3g} s,"


def _rate(target: Target) -> float:
    assert target.times is not None
    return 1 / float(np.diff(target.times).mean())


def _signed(text: str) -> str:
    return text.replace("-", "−")

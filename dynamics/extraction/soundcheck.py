"""Whether the sounds are to blame where a network fails, rather than its weights.

What a network can be given does not depend on its weights: a stimulus that it cannot take alone,
where it takes noise, is a fault of the sounds and none of the checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from dynamics.extraction import extract
from dynamics.extraction.poolings import Pooling
from dynamics.faults import FAULTS, SoundError, of_machine, sentence
from dynamics.models import Model
from dynamics.sounds import StimulusSet

# Seconds of noise, one of which every network of audio takes.
_USUAL = (1.0, 3.0, 10.0)


def blamed(
    fault: Exception,
    model: Model,
    stimuli: StimulusSet,
    *,
    pooling: Pooling,
    fresh: Callable[[], Model],
) -> Exception:
    """Find out whether the sounds are to blame for what went wrong while a network ran.

    Parameters
    ----------
    fault : Exception
        What was raised.
    model : Model
        The network.
    stimuli : StimulusSet
        The sounds.
    pooling : Pooling
        As for `dynamics.extraction.extract.extract`.
    fresh : callable
        Returns the same network with fresh weights.

    Returns
    -------
    Exception
        A SoundError that names the first stimulus which cannot pass alone, shortest first, while
        noise can; else the same fault.
    """
    if isinstance(fault, SoundError) or of_machine(fault) is not None:
        return fault
    judge = model
    if isinstance(fault, extract.NotFiniteError):
        try:
            judge = fresh()  # broken weights are no fault of the sounds
        except FAULTS:
            return fault
    elif not _takes_noise(model):
        return fault
    stimuli = stimuli.heard
    waveforms = stimuli.waveforms(judge.sample_rate)
    for row in np.argsort([len(waveform) for waveform in waveforms], kind="stable"):
        try:
            one = extract.batch_of(judge, waveforms, np.array([row]), stimuli.durations)
            extract.extract(judge, [one], pooling=pooling)
        except FAULTS as found:
            return _about(judge, stimuli, int(row), found)
    return fault


def _pass(model: Model, waveform: np.ndarray) -> None:
    one = extract.batch_of(model, [waveform], np.array([0]), np.zeros(1))
    with torch.inference_mode():
        device = extract.device_of(model)
        model.forward_prepared(*(part.to(device) for part in one.prepared))


def _takes(model: Model, samples: int) -> bool:
    noise = 0.1 * np.random.default_rng(0).standard_normal(samples).astype("float32")
    try:
        _pass(model, noise)
    except FAULTS:
        return False
    return True


def _takes_noise(model: Model) -> bool:
    return any(_takes(model, int(seconds * model.sample_rate)) for seconds in _USUAL)


def _about(model: Model, stimuli: StimulusSet, row: int, fault: Exception) -> SoundError:
    """Say which stimulus it is, how long, and what the network says of it."""
    rate, count = model.sample_rate, len(stimuli.waveforms(model.sample_rate)[row])
    name = stimuli.names[row]
    what = f"the stimulus {name!r} has {count} samples at {rate} Hz ({1000 * count / rate:.3g} ms)"
    return SoundError(
        f"{what} and cannot pass through the network ({sentence(fault)[:200]}): leave it out of "
        "the stimuli, or mend it"
    )

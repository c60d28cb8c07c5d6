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
from dynamics.extraction.windows import fits, heard, plan
from dynamics.faults import FAULTS, SoundError, of_machine, sentence
from dynamics.models import Model, Windows
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
    windows: Windows | None = None,
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
    windows : Windows, optional
        Through which sounds that are longer are heard.

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
    for row in np.argsort(stimuli.durations, kind="stable").tolist():
        try:
            _hear(judge, stimuli, row, pooling, windows)
        except FAULTS as found:
            return _about(judge, stimuli, row, found)
    return fault


def _hear(
    model: Model, stimuli: StimulusSet, row: int, pooling: Pooling, windows: Windows | None
) -> None:
    """Pass one stimulus through a network, as it is heard in a sweep."""
    duration, sound = float(stimuli.durations[row]), stimuli.stream(row, model.sample_rate)
    if windows is None or fits(windows, duration):
        waveform = np.concatenate(list(sound))
        one = extract.batch_of(model, [waveform], np.array([0]), stimuli.durations[[row]])
        extract.extract(model, [one], pooling=pooling)
        return
    pieces = plan(model, windows, pooling, row, duration)
    for _ in heard(model, [(pieces, sound)], pooling, batch_size=1):
        pass


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
    rate = model.sample_rate
    count = sum(map(len, stimuli.stream(row, rate)))
    name = stimuli.names[row]
    what = f"the stimulus {name!r} has {count} samples at {rate} Hz ({1000 * count / rate:.3g} ms)"
    return SoundError(
        f"{what} and cannot pass through the network ({sentence(fault)[:200]}): leave it out of "
        "the stimuli, or mend it"
    )

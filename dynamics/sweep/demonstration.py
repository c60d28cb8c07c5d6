"""The demonstration that needs no data, and the pretraining of a network of its kind."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from dynamics import progress, sounds
from dynamics.config import Sweep, validate

DEMO: dict[str, Any] = {
    "run": "demo",
    "checkpoints": "store/demo/checkpoints",
    "model": {"name": "encodecmae", "arguments": {"heads": 4, "frames_per_token": 4}},
    "stimuli": {"name": "synthetic", "arguments": {"seed": 1}},
    # A region that follows how sounds unfold is there to be learned: no baseline has it.
    "targets": [{"name": "simulated", "arguments": {"fluctuating": 66}}],
    "metrics": ["ridge", "rsa"],
    "probes": [
        {
            "name": "sound-category",
            "arguments": {"train": 8, "valid": 4, "test": 6, "seconds": 0.5},
        }
    ],
    "pretrain": {
        "steps": 160,
        "checkpoints": 8,
        "layers": 4,
        "width": 128,
        "heads": 4,
        "feed_forward": 512,
        "mels": 64,
        "frames_per_token": 4,
        "hidden_span": 4,
        "batch_size": 24,
        "learning_rate": 1e-3,
        "warmup": 40,
        "target_windows": [1, 1, 1, 1],
        "sources": [{"synthetic": True, "sounds": 800}],
    },
}


def demo() -> Sweep:
    """Return the embedded sweep: synthetic pretraining, generated sounds, a simulated listener."""
    return validate(DEMO, origin="the embedded demo")


def pretrain(sweep: Sweep, *, advance: progress.Advance | None = None) -> Path:
    """Run the reference pretraining of a sweep, or go on with it.

    Parameters
    ----------
    sweep : Sweep
        With a section `pretrain`; the checkpoints go to the sweep's `checkpoints` folder.
    advance : callable, optional
        Called after each step; by default a progress bar with loss and rate is drawn.

    Returns
    -------
    Path
        The folder of checkpoints.

    Raises
    ------
    ValueError
        If the sweep has no such section.
    """
    from dynamics.reference import pretrain as train

    settings = sweep.pretrain
    if settings is None:
        raise ValueError(f"run {sweep.run!r} has no section `pretrain`: add it to train a network")
    heard = sounds.load(sweep.stimuli.name, **sweep.stimuli.arguments).heard
    rate = 16000
    evaluation = [
        (name, waveform, rate) for name, waveform in zip(heard.names, heard.waveforms(rate))
    ]
    with contextlib.ExitStack() as stack:
        if advance is None:
            advance = stack.enter_context(progress.bar("pretraining", settings.steps))
        seen = 0

        def report(step: int, loss: float, rate: float) -> None:
            nonlocal seen
            advance(note=f"loss {loss:.3f}, {rate:.1f} steps/s", amount=step - seen)
            seen = step

        folder = train(settings, evaluation=evaluation, progress=report)
        if seen < settings.steps:
            advance(note="there already", amount=settings.steps - seen)
        return folder

"""Supervised training: the four areas of BAN learn the labels of a folder of sounds."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from dynamics import sounds
from dynamics.config import Pretraining
from dynamics.models.ban import BAN
from dynamics.models.mel import SAMPLE_RATE, log_mel
from dynamics.sounds.labels import read_labels

Batch = tuple[torch.Tensor, torch.Tensor]


class Labelled:
    """Sounds of a folder with a class each, decoded once into memory (16 bit, 24 kHz, mono).

    Classes are the categories of `dynamics.sounds.from_folder`: a file ``labels.csv``, else the
    first subfolders. Where that file has a third column, only its sounds ``train`` are taken, so
    that a probe of the same folder is tested on others.

    Parameters
    ----------
    folder : Path
        The folder.
    leave_out : tuple of str
        Patterns (``fnmatch``) of names to leave out.
    hours : float
        Sounds are taken in an order drawn from `seed` until this much is loaded.
    seed : int
        Of that order.

    Raises
    ------
    FileNotFoundError
        Where there is no such folder, or no audio in it.
    ValueError
        Where a sound has no label, or there are fewer than two classes.
    """

    def __init__(self, folder: Path, *, leave_out: tuple[str, ...], hours: float, seed: int):
        every = sounds.from_folder(folder)
        table = folder / "labels.csv"
        rows = read_labels(table) if table.exists() else {}
        kept = [
            place
            for place, name in enumerate(every.names)
            if (name not in rows or rows[name].split in ("", "train"))
            and not any(fnmatch.fnmatchcase(name, pattern) for pattern in leave_out)
        ]
        chosen: list[int] = []
        seconds = 0.0
        for place in np.random.default_rng(seed).permutation(kept):
            if chosen and seconds + every.durations[place] > hours * 3600:
                continue
            chosen.append(int(place))
            seconds += float(every.durations[place])
        stimuli = every.subset(sorted(chosen))
        self.names = stimuli.names
        self.classes = tuple(sorted(set(stimuli.categories)))
        if sounds.UNLABELLED in self.classes or len(self.classes) < 2:
            raise ValueError(
                f"{folder} has no two classes to learn: put its sounds into a folder a class, or "
                "write labels.csv (name,label,split)"
            )
        self._waves = [
            np.round(np.clip(wave, -1, 1) * 32767).astype(np.int16)
            for wave in stimuli.waveforms(SAMPLE_RATE)
        ]
        self._members = [
            [place for place, own in enumerate(stimuli.categories) if own == name]
            for name in self.classes
        ]

    def draw(self, rng: np.random.Generator, samples: int) -> tuple[np.ndarray, int]:
        """Random excerpt (samples,), float32, of a random sound of a random class, and the class.

        Shorter sounds are repeated.
        """
        number = int(rng.integers(len(self.classes)))
        whole = self._waves[int(rng.choice(self._members[number]))]
        start = int(rng.integers(max(1, whole.size - samples + 1)))
        part = whole[start : start + samples].astype(np.float32) / 32768
        return np.pad(part, (0, samples - part.size), mode="wrap"), number

    def files(self) -> Iterator[tuple[str, np.ndarray, int]]:
        """Name, waveform (int16) and rate of every sound, for `dynamics.reference.overlap`."""
        yield from ((name, wave, SAMPLE_RATE) for name, wave in zip(self.names, self._waves))


def network(labelled: Labelled, settings: Pretraining) -> BAN:
    """Build the network with a readout for every class.

    Parameters
    ----------
    labelled : Labelled
        What it learns.
    settings : Pretraining
        Its sizes and seed.

    Returns
    -------
    BAN
        In training mode.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return BAN(
            width=settings.width,
            mels=settings.mels,
            kernel=settings.kernel,
            recurrences=settings.recurrences,
            classes=len(labelled.classes),
        )


def batch(labelled: Labelled, settings: Pretraining, step: int) -> Batch:
    """Make the clips of a step, from (seed, step), and their classes.

    Parameters
    ----------
    labelled : Labelled
        Where they come from.
    settings : Pretraining
        How many, how long and how loud.
    step : int
        Which step.

    Returns
    -------
    mel : torch.Tensor of shape (batch, time, mels)
        Log-mel frames.
    number : torch.Tensor of shape (batch,), int64
        Classes.
    """
    rng = np.random.default_rng([settings.seed, step])
    samples = round(settings.clip_seconds * SAMPLE_RATE)
    waves, numbers = [], []
    for _ in range(settings.batch_size):
        wave, number = labelled.draw(rng, samples)
        level = settings.level * 10 ** (settings.level_spread * rng.standard_normal() / 20)
        waves.append(wave * (level / (np.sqrt(np.mean(wave**2)) + 1e-4)))
        numbers.append(number)
    mel = log_mel(torch.from_numpy(np.stack(waves).astype(np.float32)), mels=settings.mels)
    return mel, torch.tensor(numbers)


def loss(net: BAN, given: Batch) -> torch.Tensor:
    """Mean cross-entropy (nats) of a network's answers to a `batch`."""
    mel, numbers = given
    count = torch.full((len(mel),), mel.shape[1])
    return functional.cross_entropy(net.answers(mel, count), numbers)

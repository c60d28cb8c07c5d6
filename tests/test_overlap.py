"""A sound is found inside another file whatever was done to it, and nothing else is."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
import soxr

from dynamics.config import pretraining
from dynamics.reference.overlap import RATE, THRESHOLD, fingerprint, first_overlap
from dynamics.reference.synthesis import KINDS, sound

RATES = 44100


def coded(wave, rate, subtype):
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, rate, format="OGG", subtype=subtype)
    buffer.seek(0)
    return soundfile.read(buffer, dtype="float32")


def inside(wave, rate, rng):
    around = sound("mixture", rng, sample_rate=rate, seconds=7.0)
    cut = int(rng.integers(rate, 5 * rate))
    return np.concatenate([around[:cut], wave, around[cut:]]), rate


CHANGES = {
    "softer": lambda wave, rng: (wave * 0.03, RATES),
    "16 bit": lambda wave, rng: ((wave * 8000).astype(np.int16), RATES),
    "resampled": lambda wave, rng: (soxr.resample(wave, RATES, 16000), 16000),
    "opus": lambda wave, rng: coded(soxr.resample(wave, RATES, 24000), 24000, "OPUS"),
    "vorbis": lambda wave, rng: coded(wave, RATES, "VORBIS"),
    "inside a longer file": lambda wave, rng: inside(wave * 0.5, RATES, rng),
    "all of it": lambda wave, rng: coded(
        *inside(soxr.resample(wave, RATES, 24000) * 0.3, 24000, rng), "OPUS"
    ),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", ["speech", "melody", "song", "texture", "machine", "call"])
def test_the_same_recording_is_found(change, kind):
    if change == "all of it" and kind in ("texture", "machine"):
        pytest.skip("noise under a louder neighbour and a lossy codec is beyond it")
    rng = np.random.default_rng(3)
    wave = sound(kind, rng, sample_rate=RATES, seconds=2.0)
    found = first_overlap([("it", wave, RATES)], [("there", *CHANGES[change](wave, rng))])
    assert found is not None
    assert found[:2] == ("it", "there")
    assert THRESHOLD <= found[2] <= 1.001


def test_other_sounds_of_the_same_kind_are_not():
    # A click, a steady tone and a periodic sweep have too little detail to be told from another.
    alike = ("chirp", "harmonic", "modulated_noise", "impact", "mixture")
    kinds = [kind for kind in KINDS if kind not in alike]
    rng = np.random.default_rng(5)
    evaluation = [(f"{k}{i}", sound(k, rng), 24000) for k in kinds for i in range(3)]
    others = [(k, sound(k, rng, seconds=10.0), 24000) for k in kinds]
    assert first_overlap(evaluation, others) is None


def test_a_recording_that_is_part_of_an_evaluation_sound_is_found():
    wave = sound("speech", np.random.default_rng(6), seconds=2.0)
    assert first_overlap([("it", wave, 24000)], [("part", wave[4800:], 24000)]) is not None


def test_the_natural_sounds_are_found_and_told_apart(data_root):
    folder = data_root / "natsound165-neuron2015" / "stimuli" / "wav"
    paths = sorted(folder.glob("*.wav"))[::8]
    if not paths:
        pytest.skip("no natural sounds in the local copy")
    sounds = [(path.stem, *soundfile.read(path, dtype="float32")) for path in paths]
    for i, (name, wave, rate) in enumerate(sounds):
        longer = np.concatenate([sounds[i - 1][1], 0.5 * wave])
        others = [item for item in sounds if item[0] not in (name, sounds[i - 1][0])]
        found = first_overlap([sounds[i]], [("longer", longer, rate)])
        assert found is not None, name
        assert first_overlap(others, [("longer", longer, rate)]) is None, name


def test_silence_and_very_short_sounds_match_nothing():
    silence = np.zeros(2 * RATE, dtype=np.float32)
    assert first_overlap([("silence", silence, RATE)], [("too", silence, RATE)]) is None
    assert fingerprint(np.zeros(100), RATE).shape == (0, 24)
    assert first_overlap([("short", np.ones(900), RATE)], [("x", silence, RATE)]) is None
    wave = sound("speech", np.random.default_rng(0))
    assert first_overlap([("it", wave, 24000)], [("short", np.ones(900), RATE)]) is None


def test_a_config_knows_the_kinds_of_sounds_that_there_are():
    assert tuple(KINDS) == pretraining.KINDS

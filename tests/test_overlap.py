"""A sound is found inside another file whatever was done to it, and nothing else is."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
import soxr

from dynamics.config import pretraining
from dynamics.reference import overlap
from dynamics.reference.overlap import RATE, THRESHOLD, fingerprint, first_overlap, needed
from dynamics.reference.synthesis import KINDS, sound
from dynamics.sounds.audio import read_audio

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


def test_short_sounds_are_found_in_copies_and_not_in_what_is_like_them(data_root):
    """Of parts of 1 s the nearest of other recordings is above what longer ones need."""
    folder = data_root / "natsound165-neuron2015" / "stimuli" / "wav"
    other = data_root / "pretraining-audio" / "effects" / "endless-sky-01.opus"
    if not (folder.is_dir() and other.is_file()):
        pytest.skip("no natural sounds and recordings in the local copy")
    parts = []
    for path in [folder / "stim18_basketball_dribbling.wav", *sorted(folder.glob("*.wav"))[::40]]:
        wave, rate = soundfile.read(path, dtype="float32")
        parts.append((path.stem, wave[:rate], rate))
    wave, rate = read_audio(other)
    tape = [("other", wave[: 60 * rate], rate)]
    heard = fingerprint(*parts[0][1:])[8:-8]
    nearest, _ = overlap._Templates([(0, heard)]).best(fingerprint(*tape[0][1:]))
    assert THRESHOLD < nearest < needed(len(heard)), "what would count of longer ones"
    assert first_overlap(parts, tape) is None
    for change in ("softer", "16 bit", "resampled", "vorbis"):
        for name, wave, _ in parts[:3]:
            copy, rate = CHANGES[change](wave, np.random.default_rng(0))
            longer = np.concatenate([np.zeros_like(copy), copy])
            found = first_overlap(parts, [("copy", longer, rate)])
            assert found is not None and found[0] == name, (change, name)
    assert needed(20) == pytest.approx(0.870, abs=0.001) and needed(500) == THRESHOLD


def test_recordings_that_were_clear_are_not_compared_again(monkeypatch):
    rng = np.random.default_rng(9)
    evaluation = [("it", sound("speech", rng), 24000)]
    tapes = [(f"t{i}", sound("song", rng, seconds=4.0), 24000) for i in range(2)]
    asked = []
    usual = overlap.fingerprint
    monkeypatch.setattr(overlap, "fingerprint", lambda *a: asked.append(1) or usual(*a))
    assert first_overlap(evaluation, tapes) is None and len(asked) == 3
    assert first_overlap(evaluation, tapes[::-1]) is None and len(asked) == 3
    longer = ("t2", np.concatenate([tapes[0][1], evaluation[0][1]]), 24000)
    assert first_overlap(evaluation, [*tapes, longer])[1] == "t2" and len(asked) == 5
    assert first_overlap([("other", *tapes[0][1:])], tapes)[1] == "t0", "of other sounds anew"


def test_silence_and_very_short_sounds_match_nothing():
    silence = np.zeros(2 * RATE, dtype=np.float32)
    assert first_overlap([("silence", silence, RATE)], [("too", silence, RATE)]) is None
    assert fingerprint(np.zeros(100), RATE).shape == (0, 24)
    assert first_overlap([("short", np.ones(900), RATE)], [("x", silence, RATE)]) is None
    wave = sound("speech", np.random.default_rng(0))
    assert first_overlap([("it", wave, 24000)], [("short", np.ones(900), RATE)]) is None


def test_a_config_knows_the_kinds_of_sounds_that_there_are():
    assert tuple(KINDS) == pretraining.KINDS

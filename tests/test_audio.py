"""Files whose headers and contents disagree, of unusual kinds, under unusual names."""

from __future__ import annotations

import logging
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
import soundfile
import xarray as xr

from dynamics import brains, models, sounds
from dynamics.brains import targets
from dynamics.extraction import extract, poolings
from dynamics.sounds import audio, streams

RATE = 16000
NOISE = 0.1 * np.random.default_rng(0).standard_normal(2 * RATE)


@pytest.fixture(autouse=True)
def _nothing_said_yet():
    audio.warn_once.cache_clear()


def written(path, wave=NOISE, **arguments):
    soundfile.write(path, wave, arguments.pop("rate", RATE), **arguments)
    return path


def changed(path, **places):
    """Overwrite bytes after a word of a file: ``data=b"..."``."""
    content = bytearray(path.read_bytes())
    for word, new in places.items():
        at = content.index(word.encode()) + len(word)
        content[at : at + len(new)] = new
    path.write_bytes(content)
    return path


def halved(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def without_total(path):
    """A FLAC file as a streamed encoder leaves it: the number of samples is not stated."""
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    return path


def test_a_flac_stream_of_unknown_length_is_decoded_to_its_end(tmp_path):
    path = written(tmp_path / "a.flac", subtype="PCM_16")
    right = soundfile.read(path, dtype="float32")[0]
    without_total(path)
    np.testing.assert_array_equal(audio.read_audio(path)[0], right)
    assert audio.duration(path) == 2.0 and audio.disagreements([path]) == []


@pytest.mark.parametrize("stated", [b"\xff" * 4, bytes(4)])
def test_wav_files_whose_recorder_never_wrote_the_length_are_whole(tmp_path, stated):
    path = written(tmp_path / "a.wav", subtype="PCM_16")
    right = soundfile.read(path, dtype="float32")[0]
    changed(path, data=stated)
    np.testing.assert_array_equal(audio.read_audio(path)[0], right)
    assert audio.duration(path) == 2.0


@pytest.mark.parametrize("suffix", ["wav", "aiff", "flac", "mp3"])
def test_what_was_cut_off_is_as_long_as_what_is_decoded_and_said(tmp_path, suffix, caplog):
    # Long enough that half of the file is many frames of every encoder.
    path = halved(written(tmp_path / f"cut.{suffix}", np.tile(NOISE, 4)))
    written(tmp_path / "whole.wav")
    with caplog.at_level(logging.WARNING):
        stimuli = sounds.load(tmp_path)
        sounds.load(tmp_path)
    samples, rate = audio.read_audio(path)
    assert 2 < samples.size / rate < 6
    np.testing.assert_allclose(stimuli.durations, [samples.size / rate, 2.0])
    assert len(caplog.messages) == 1
    assert (
        f"1 of 2 sounds are not as long as their headers state (cut.{suffix}: 8 s stated"
        in (caplog.messages[0])
    )


@pytest.mark.parametrize(
    "suffix", ["wav", "flac", "ogg", "mp3", "opus", "au", "w64", "caf", "aiff"]
)
def test_whole_files_agree_with_their_headers_and_with_a_reader_that_trusts_them(tmp_path, suffix):
    arguments = {"format": "OGG", "subtype": "OPUS"} if suffix == "opus" else {}
    path = written(tmp_path / f"a.{suffix}", **arguments)
    right, rate = soundfile.read(path, dtype="float32")
    found, own = audio.read_audio(path)
    np.testing.assert_array_equal(found, right)
    assert own == rate and audio.duration(path) == right.size / rate
    assert audio.disagreements([path]) == []
    assert sounds.load(tmp_path).names == ("a",)


def test_time_ends_where_a_sound_ends_not_where_its_header_does(tmp_path):
    loud = np.concatenate([3 * NOISE[:RATE], 0.2 * NOISE[:RATE]])
    halved(written(tmp_path / "cut.mp3", np.tile(loud, 2)))
    written(tmp_path / "whole.wav", np.tile(loud, 2))
    stimuli = sounds.load(tmp_path)
    model, pooling = models.load("spectrotemporal"), poolings.make("time", rate=10)
    found = extract.extract(model, extract.batches(model, stimuli), pooling=pooling)
    times = pooling.times(stimuli.durations)
    past = times > stimuli.durations[0] + 0.05
    assert past.sum() > 5
    assert np.isnan(found[model.layers[0]][0][past]).all()
    assert np.isfinite(found[model.layers[0]][1]).all()


def test_the_mp3_decoder_prints_nothing_and_what_others_print_is_kept(tmp_path):
    halved(written(tmp_path / "cut.mp3"))
    code = (
        "import sys, os, warnings\n"
        "from dynamics.sounds import audio\n"
        f"audio.duration({str(tmp_path / 'cut.mp3')!r})\n"
        f"with audio.opened({str(tmp_path / 'cut.mp3')!r}): os.write(2, b'somebody else\\n')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "somebody else\n"


def test_of_channels_that_cancel_the_first_is_used_and_said_once(tmp_path, caplog):
    path = written(tmp_path / "a.wav", np.stack([NOISE, -NOISE], 1), subtype="FLOAT")
    for _ in range(2):
        np.testing.assert_allclose(audio.read_audio(path)[0], NOISE, atol=1e-7)
    assert len(caplog.messages) == 1 and "cancel each other" in caplog.messages[0]
    # Channels that only differ, or silence, are averaged as ever.
    path = written(tmp_path / "b.wav", np.stack([NOISE, 0.9 * NOISE], 1), subtype="FLOAT")
    np.testing.assert_allclose(audio.read_audio(path)[0], 0.95 * NOISE, atol=1e-7)
    assert not audio.read_audio(written(tmp_path / "c.wav", np.zeros((9, 2))))[0].any()
    assert len(caplog.messages) == 1


def test_sounds_that_cannot_be_decoded_are_named_and_system_files_are_not_sounds(tmp_path, caplog):
    written(tmp_path / "x.wav")
    for name in ("y.m4a", "z.WMA", "film.mp4"):
        (tmp_path / name).write_bytes(b"something")
    for name in ("._x.wav", ".DS_Store", "__MACOSX/x2.wav", ".cache/x3.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    assert sounds.load(tmp_path).names == ("x",)
    (message,) = caplog.messages
    assert "3 of its files cannot be decoded here (film.mp4, y.m4a, z.WMA)" in message
    (tmp_path / "x.wav").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no audio: 3 of its files cannot be decod"):
        sounds.load(tmp_path)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("other", ["NFC", "NFD"])
def test_a_name_in_another_spelling_is_the_same_stimulus(tmp_path, form, other):
    names = ["säge", "がくせい", "plain"]
    folder = tmp_path / "set"
    folder.mkdir()
    for number, name in enumerate(names):
        written(folder / f"{unicodedata.normalize(form, name)}.wav", (number + 1) * NOISE / 9)
    labels = "".join(f"{unicodedata.normalize(other, name)},k\n" for name in names)
    (folder / "labels.csv").write_text(labels, encoding="utf-8")
    stimuli = sounds.load(folder)
    assert set(stimuli.names) == set(names) and set(stimuli.categories) == {"k"}
    there = [unicodedata.normalize(other, name) for name in names]
    response = np.arange(3.0)[:, None] + np.arange(2.0)
    data = xr.Dataset(
        {"response": (("stimulus", "neuroid"), response)},
        coords={"stimulus": there},
        attrs={"name": "t"},
    )
    joined = brains.join(data, stimuli.names)
    assert sorted(joined["response"].to_numpy()[:, 0]) == [0, 1, 2]
    assert set(joined["stimulus"].to_numpy()) == set(names)
    # The store may have been made where names were kept as the file system spelt them.
    own = xr.Dataset(
        coords={
            "stimulus": [unicodedata.normalize(form, name) for name in names * 4],
            "category": ("stimulus", ["k"] * 12),
        }
    ).isel(stimulus=slice(3))
    with pytest.raises(ValueError, match="folds"):  # of three stimuli: they were all found
        targets.make_target(data, own)


def test_two_spellings_of_one_name_in_a_folder_are_refused(tmp_path):
    for form in ("NFC", "NFD"):
        written(tmp_path / f"{unicodedata.normalize(form, 'ä')}.wav")
    if len(list(tmp_path.iterdir())) < 2:
        pytest.skip("this file system knows one spelling")
    with pytest.raises(ValueError, match=r"two stimuli of .* are called 'ä'"):
        sounds.load(tmp_path)


@pytest.mark.parametrize("suffix, subtype", [(".wav", "PCM_16"), (".flac", None), (".ogg", None)])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("wanted", [16000, 22050, 8000])
def test_a_stream_gives_what_decoding_at_once_gives(tmp_path, suffix, subtype, channels, wanted):
    rng, rate = np.random.default_rng(0), 16000
    samples = 0.1 * rng.standard_normal((5 * 2**16 + 77, channels))
    path = tmp_path / f"long{suffix}"
    soundfile.write(path, samples, rate, subtype=subtype)
    whole = audio.resample(*audio.read_audio(path), wanted)
    blocks = list(streams.stream(path, wanted))
    assert max(map(len, blocks)) < 2**17 + 2**12
    found = np.concatenate(blocks)
    assert len(found) == len(whole)
    if wanted == rate:
        np.testing.assert_array_equal(found, whole)
    np.testing.assert_allclose(found, whole, atol=2e-6)


def test_a_stream_of_channels_that_cancel_is_the_first_of_them(tmp_path, caplog):
    wave = 0.1 * np.random.default_rng(0).standard_normal(70_000)
    path = tmp_path / "upside-down.wav"
    soundfile.write(path, np.column_stack([wave, -wave]), 16000, subtype="FLOAT")
    np.testing.assert_allclose(np.concatenate(list(streams.stream(path, 16000))), wave, atol=1e-7)
    assert "the first is used alone" in caplog.text
    soundfile.write(path, np.full(100, np.nan), 16000, subtype="FLOAT")
    with pytest.raises(ValueError, match="no finite samples"):
        list(streams.stream(path, 8000))

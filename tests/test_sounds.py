from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest
import soundfile

from dynamics import sounds

RATE = 16000


def tone(frequency: float, seconds: float = 0.5, rate: int = RATE) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


@pytest.fixture
def folder(tmp_path):
    """Two categories in subfolders, two stimuli each."""
    for category, frequency in (("low", 200), ("high", 2000)):
        (tmp_path / category).mkdir()
        for number in (2, 10):
            path = tmp_path / category / f"{category}{number}.wav"
            soundfile.write(path, tone(frequency + number), RATE)
    return tmp_path


def test_names_are_in_natural_order_and_categories_are_subfolders(folder):
    stimuli = sounds.load(folder)
    assert stimuli.names == ("high2", "high10", "low2", "low10")
    assert stimuli.categories == ("high", "high", "low", "low")
    np.testing.assert_allclose(stimuli.durations, 0.5)
    assert len(stimuli) == 4
    assert stimuli.name == folder.name


def test_stimuli_of_one_stem_are_named_by_path(folder):
    soundfile.write(folder / "low" / "high2.wav", tone(50), RATE)
    assert "low/high2" in sounds.load(folder).names


def test_two_formats_of_one_sound_are_refused(folder):
    soundfile.write(folder / "low" / "low2.flac", tone(50), RATE)
    with pytest.raises(ValueError, match=r"two stimuli .* called 'low/low2'"):
        sounds.load(folder)


def test_labels_file_gives_the_categories(folder):
    (folder / "labels.csv").write_text("name,category\nhigh2,a\nhigh10.wav,a\nlow2,b\nlow10,b\n")
    assert sounds.load(folder).categories == ("a", "a", "b", "b")


def test_a_stimulus_without_a_label_is_named(folder):
    (folder / "labels.csv").write_text("high2,a\nhigh10,a\nlow2,b\n")
    with pytest.raises(ValueError, match=r"labels\.csv has no row for stimulus 'low10'"):
        sounds.load(folder)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_formats_decode_to_the_same_tone(tmp_path, suffix):
    soundfile.write(tmp_path / f"tone.{suffix}", tone(440, 1.0), RATE)
    (wave,) = sounds.load(tmp_path).waveforms(RATE)
    spectrum = np.abs(np.fft.rfft(wave[:RATE]))
    assert abs(np.argmax(spectrum) - 440) <= 1
    assert wave.dtype == np.float32


def test_stereo_is_averaged(tmp_path):
    left, right = tone(300), tone(700)
    soundfile.write(tmp_path / "both.wav", np.stack([left, right], axis=1), RATE, subtype="FLOAT")
    (wave,) = sounds.load(tmp_path).waveforms(RATE)
    np.testing.assert_allclose(wave, (left + right) / 2, atol=1e-6)


def test_resampling_keeps_a_tone_and_drops_what_lies_above_the_new_limit(tmp_path):
    soundfile.write(tmp_path / "x.wav", tone(1000, 1.0) + tone(7000, 1.0), RATE, subtype="FLOAT")
    (wave,) = sounds.load(tmp_path).waveforms(8000)
    assert wave.size == 8000
    inner = slice(800, 7200)
    np.testing.assert_allclose(wave[inner], tone(1000, 1.0, 8000)[inner], atol=1e-3)


def test_waveforms_of_the_last_rate_are_kept_and_read_only(folder):
    stimuli = sounds.load(folder)
    first = stimuli.waveforms(8000)
    assert stimuli.waveforms(8000)[0] is first[0]
    with pytest.raises(ValueError, match="read-only"):
        first[0][0] = 1
    stimuli.waveforms(RATE)
    assert stimuli.waveforms(8000)[0] is not first[0]


def test_digest_follows_names_and_content_alone(folder):
    digest = sounds.load(folder).digest
    assert sounds.load(str(folder)).digest == digest
    copy = pickle.loads(pickle.dumps(sounds.load(folder)))
    assert copy.digest == digest
    (folder / "low" / "low2.wav").rename(folder / "low" / "low3.wav")
    renamed = sounds.load(folder).digest
    assert renamed != digest
    soundfile.write(folder / "low" / "low3.wav", tone(203), RATE)
    assert sounds.load(folder).digest not in (digest, renamed)


def test_a_pickled_set_leaves_its_waveforms_behind(folder):
    stimuli = sounds.load(folder)
    bare = len(pickle.dumps(stimuli))
    stimuli.waveforms(RATE)
    assert len(pickle.dumps(stimuli)) == bare


@pytest.mark.parametrize("content", [b"", b"not audio at all"])
def test_a_bad_file_is_named(folder, content):
    (folder / "low" / "broken.wav").write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.wav is .*(empty|not readable)") as error:
        sounds.load(folder)
    assert "\n" not in str(error.value)


def test_a_file_without_samples_is_named(folder):
    soundfile.write(folder / "low" / "hollow.wav", np.zeros(0), RATE)
    with pytest.raises(ValueError, match=r"hollow\.wav holds no samples"):
        sounds.load(folder)


def test_values_that_are_not_finite_are_refused(tmp_path):
    soundfile.write(tmp_path / "nan.wav", np.full(100, np.nan), RATE, subtype="FLOAT")
    with pytest.raises(ValueError, match=r"nan\.wav has no finite samples"):
        sounds.load(tmp_path).waveforms(RATE)


def test_missing_and_silent_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"'.*nowhere' does not exist"):
        sounds.load(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("nothing to hear")
    with pytest.raises(FileNotFoundError, match="holds no audio"):
        sounds.load(tmp_path)
    with pytest.raises(ValueError, match="is a file"):
        sounds.load(tmp_path / "notes.txt")


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(ValueError, match=r"unknown stimulus set 'natsounds'.*natsound165"):
        sounds.load("natsounds")


def test_synthetic_sounds_follow_their_seed():
    stimuli = sounds.load("synthetic")
    assert len(stimuli) >= 72
    assert len(set(stimuli.categories)) >= 8
    np.testing.assert_allclose(stimuli.durations, 2.0)
    again, other = sounds.load("synthetic", per_kind=1), sounds.load("synthetic", seed=1)
    index = stimuli.names.index(again.names[3])
    np.testing.assert_array_equal(stimuli.sources[index]()[0], again.sources[3]()[0])
    assert not np.array_equal(stimuli.sources[0]()[0], other.sources[0]()[0])
    with pytest.raises(ValueError, match="unknown kind of sound 'growl'"):
        sounds.load("synthetic", kinds=["growl"])


def test_natsound165_has_the_published_categories(data_root):
    stimuli = sounds.load("natsound165")
    assert stimuli.names[:2] == ("stim5_alarm_clock", "stim7_applause")
    numbers = [int(name.split("_")[0][4:]) for name in stimuli.names]
    assert numbers == sorted(numbers)
    counts = {name: stimuli.categories.count(name) for name in set(stimuli.categories)}
    assert counts == {
        "EngSpeech": 10,
        "ForSpeech": 7,
        "HumVoc": 13,
        "HumNonVoc": 15,
        "AniVoc": 10,
        "AniNonVoc": 5,
        "Nature": 4,
        "Mechanical": 39,
        "Song": 11,
        "Music": 24,
        "EnvSound": 27,
    }
    waves = stimuli.waveforms(16000)
    assert {wave.size for wave in waves} == {32000}


def test_fsdd_splits_are_disjoint_and_whole(data_root):
    whole, train, test = (sounds.load("fsdd", split=split) for split in ("all", "train", "test"))
    assert set(whole.names) == set(train.names) | set(test.names)
    assert not set(train.names) & set(test.names)
    assert len(test) == 300
    assert set(whole.categories) == set("0123456789")


@pytest.fixture
def decoded(folder, monkeypatch):
    """A folder of sounds, and a list of the files that were decoded."""
    read, names = sounds.sets.read_audio, []
    monkeypatch.setattr(sounds.sets, "read_audio", lambda path: (names.append(path), read(path))[1])
    return folder, names


def test_a_sound_is_decoded_once_for_its_digest_and_every_rate(decoded):
    folder, names = decoded
    stimuli = sounds.load(folder)
    digest, waves = stimuli.digest, [stimuli.waveforms(rate) for rate in (8000, 16000, 8000)]
    assert len(names) == len(set(names)) == len(stimuli)
    other = sounds.load(folder)
    assert [each.tolist() for each in other.waveforms(8000)] == [each.tolist() for each in waves[2]]
    assert other.digest == digest


def test_what_memory_does_not_allow_is_decoded_again(decoded, monkeypatch):
    folder, names = decoded
    whole = sounds.load(folder)
    sizes = [samples.nbytes for samples, _ in (source() for source in whole.sources)]
    assert whole.digest
    monkeypatch.setattr(sounds.sets, "KEEP_BYTES", sizes[0] + sizes[1])
    stimuli = sounds.load(folder)
    assert stimuli.digest == whole.digest
    names.clear()
    for rate in (8000, 16000):
        for one, other in zip(stimuli.waveforms(rate), whole.waveforms(rate), strict=True):
            np.testing.assert_array_equal(one, other)
    kept = [names.count(source.args[0]) for source in stimuli.sources]
    assert kept == [0, 0] + [2] * (len(stimuli) - 2)


def test_a_walk_that_broke_off_leaves_nothing_in_the_wrong_place(decoded):
    folder, _ = decoded
    stimuli = sounds.load(folder)
    walks = [stimuli._samples() for _ in range(2)]
    next(walks[0]), next(walks[1]), next(walks[0])
    list(walks[1])
    assert stimuli.digest == sounds.load(folder).digest


def test_long_sounds_are_streamed_and_their_digest_is_that_of_the_whole(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for name, seconds, channels in (("a", 3, 1), ("b", 11.003, 2), ("c", 9, 1)):
        wave = 0.1 * rng.standard_normal((int(seconds * 8000), channels))
        soundfile.write(tmp_path / f"{name}.flac", wave, 8000)
    whole, names = sounds.load(tmp_path), sounds.load(tmp_path).names
    expected, waves = whole.digest, whole.waveforms(6000)
    monkeypatch.setattr(sounds.sets, "LONG", 5.0)
    # Blocks of what was decoded, and nothing of a long sound is held.
    streamed = sounds.load(tmp_path)
    assert [streamed.is_streamed(row) for row in range(3)] == [False, True, True]
    assert streamed.digest == expected and set(streamed._decoded) == {0}
    for row in range(3):
        blocks = list(streamed.stream(row, 6000))
        assert len(blocks) > 1 or row == 0
        np.testing.assert_allclose(np.concatenate(blocks), waves[row], atol=2e-6)
    # A stated duration that is not that of the decoded sound.
    off = dataclasses.replace(streamed, durations=streamed.durations + 0.01)
    assert off.digest == expected
    some = streamed.subset([2, 0])
    assert some.names == (names[2], names[0]) and some.durations.tolist() == [9, 3]
    np.testing.assert_array_equal(some.waveforms(8000)[1], whole.waveforms(8000)[0])

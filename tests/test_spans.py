"""Parts of recordings as stimuli: tables of events, TextGrids, and what a network hears of them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import soundfile

from dynamics import sounds
from dynamics.sounds.copies import names_of_copies
from dynamics.sounds.textgrid import Interval, read_textgrid

RATE = 8000

LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0 
xmax = 2 
tiers? <exists> 
size = 3 
item []: 
    item [1]:
        class = "IntervalTier" 
        name = "words" 
        xmin = 0 
        xmax = 2 
        intervals: size = 3 
        intervals [1]:
            xmin = 0 
            xmax = 0.5 
            text = "" 
        intervals [2]:
            xmin = 0.5 
            xmax = 1.25 
            text = "a ""quoted"" über 3" 
        intervals [3]:
            xmin = 1.25 
            xmax = 2 
            text = "the" 
    item [2]:
        class = "TextTier" 
        name = "clicks" 
        xmin = 0 
        xmax = 2 
        points: size = 1 
        points [1]:
            number = 1.5 
            mark = "x" 
    item [3]:
        class = "IntervalTier" 
        name = "speaker" 
        xmin = 0 
        xmax = 2 
        intervals: size = 1 
        intervals [1]:
            xmin = 0 
            xmax = 2 
            text = "anna" 
"""  # noqa: W291, trailing blanks as Praat writes them
SHORT = """File type = "ooTextFile"
Object class = "TextGrid"

0
2
<exists>
3
"IntervalTier"
"words"
0
2
3
0
0.5
""
0.5
1.25
"a ""quoted"" über 3"
1.25
2
"the"
"TextTier"
"clicks"
0
2
1
1.5
"x"
"IntervalTier"
"speaker"
0
2
1
0
2
"anna"
"""


@pytest.fixture
def folder(tmp_path):
    """Two recordings of noise, 2 s and 3 s."""
    root = tmp_path / "stimuli"
    root.mkdir()
    for number, (name, seconds) in enumerate((("one", 2), ("two", 3))):
        noise = 0.1 * np.random.default_rng(number).standard_normal(seconds * RATE)
        soundfile.write(root / f"{name}.wav", noise, RATE, subtype="FLOAT")
    return root


def table(root, *lines, name="events.tsv", sign="\t"):
    (root / name).write_text("\n".join(sign.join(map(str, line)) for line in lines) + "\n")
    return root / name


@pytest.mark.parametrize("text", [LONG, SHORT], ids=["long", "short"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_both_text_formats_of_textgrids_hold_the_same(tmp_path, text, encoding):
    path = tmp_path / "x.TextGrid"
    begin = b"\xfe\xff" if encoding == "utf-16-be" else b""
    path.write_bytes(begin + text.replace("\n", "\r\n").encode(encoding))
    assert read_textgrid(path) == {
        "words": [Interval(0.5, 1.25, 'a "quoted" über 3'), Interval(1.25, 2.0, "the")],
        "clicks": None,
        "speaker": [Interval(0.0, 2.0, "anna")],
    }


@pytest.mark.parametrize(
    "content, told",
    [
        (LONG.encode("latin-1"), "neither UTF-8 nor UTF-16"),
        (LONG[:700].encode(), "breaks off"),
        (b"", "breaks off"),
        (b"ooBinaryFile\x08TextGrid\x00", "binary TextGrid"),
        (b'File type = "ooTextFile"\nObject class = "Sound"\n', "no TextGrid"),
        (SHORT.replace("1.25\n2\n", "1.25\ntwo\n").encode(), "breaks off, or is damaged"),
    ],
)
def test_what_is_no_textgrid_is_told(tmp_path, content, told):
    path = tmp_path / "x.TextGrid"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=told) as error:
        read_textgrid(path)
    assert "\n" not in str(error.value)


def test_a_table_of_events_makes_stimuli_with_names_labels_and_places(folder):
    table(
        folder,
        ("onset", "duration", "word", "file", "level", "duration of what"),
        (1.0, 0.5, "the", "two.wav", 3, "x"),
        (0.25, 0.5, "cat", "stimuli/two", 1.5, "n/a"),
        (0.5, 1.5, "the", "one", 2, "y"),
    )
    stimuli = sounds.load(folder, events="events.tsv", category="word")
    assert stimuli.names == ("the-1", "cat-2", "the-3")
    assert stimuli.categories == ("the", "cat", "the")
    np.testing.assert_allclose(stimuli.durations, [1.5, 0.5, 0.5])
    assert stimuli.within.recordings.names == ("one", "two") == stimuli.heard.names
    assert stimuli.within.recording.tolist() == [0, 1, 1]
    np.testing.assert_allclose(stimuli.within.onset, [0.5, 0.25, 1.0])
    assert stimuli.within.labels["duration of what"] == ("y", "", "x")
    known = stimuli.within.coordinates()
    assert sorted(known) == [
        "duration", "label_duration_of_what", "level", "onset", "recording", "word",
    ]  # fmt: skip
    np.testing.assert_array_equal(known["level"][0], [2, 1.5, 3])
    wave, whole = stimuli.waveforms(RATE)[1], stimuli.heard.waveforms(RATE)[1]
    np.testing.assert_array_equal(wave, whole[2000:6000])
    assert len(pickle.loads(pickle.dumps(stimuli)).waveforms(RATE)[2]) == 4000


def test_offsets_commas_and_names_of_ones_own_will_do(folder):
    (folder / "two.wav").unlink()
    table(folder, ("name", "start", "end"), ("first", 0, 0.5), ("second", 0.5, 1), sign=",",
          name="words.csv")  # fmt: skip
    stimuli = sounds.load(folder, events=folder / "words.csv")
    assert stimuli.names == ("first", "second")
    assert set(stimuli.categories) == {sounds.UNLABELLED}
    np.testing.assert_allclose(stimuli.within.onset, [0, 0.5])
    np.testing.assert_allclose(stimuli.durations, 0.5)


def test_textgrids_lie_beside_their_recordings_or_in_a_folder(folder, tmp_path, caplog):
    (folder / "one.TextGrid").write_text(LONG)
    beside = sounds.load(folder, events=True, tier="words", category="speaker")
    assert beside.names == ('a "quoted" über 3-1', "the-2")
    assert beside.categories == ("anna", "anna")
    assert beside.within.labels["words"] == ('a "quoted" über 3', "the")
    assert beside.heard.names == ("one",) and "1 of 2 recordings" in caplog.text
    (tmp_path / "grids").mkdir()
    for name in ("one", "two", "three"):
        (tmp_path / "grids" / f"{name}.TextGrid").write_text(SHORT)
    apart = sounds.load(folder, events=str(tmp_path / "grids"), tier="words")
    assert apart.within.recording.tolist() == [0, 0, 1, 1]
    assert "1 files of" in caplog.text


def test_tables_beside_recordings_are_called_after_them(folder):
    table(folder, ("onset", "duration", "word"), (0, 1, "a"), name="one_events.tsv")
    table(folder, ("onset", "duration", "phone"), (1, 1, "b"), name="two.csv", sign=",")
    stimuli = sounds.load(folder, events=True)
    assert stimuli.names == ("a-1", "b-2") and stimuli.within.recording.tolist() == [0, 1]
    assert stimuli.within.labels == {"word": ("a", ""), "phone": ("", "b")}


def test_in_a_run_of_bids_onsets_are_on_its_clock(folder):
    table(
        folder,
        ("onset", "duration", "trial_type", "stim_file", "value"),
        (10, 3, "story", "two.wav", "n/a"),
        (10.5, 0.25, "word", "n/a", "cat"),
        (11, 0, "button", "n/a", "n/a"),
        (14, 0.5, "rest", "n/a", "n/a"),
        (20, 2, "story", "one.wav", "n/a"),
        (21.5, 0.5, "word", "n/a", "dog"),
    )
    stimuli = sounds.load(folder, events=True, category="trial_type")
    assert stimuli.within.labels["value"] == ("dog", "cat")
    np.testing.assert_allclose(stimuli.within.onset, [1.5, 0.5])
    assert stimuli.within.recording.tolist() == [0, 1]
    assert stimuli.categories == ("word", "word")


def test_the_digest_is_of_recordings_and_places(folder):
    def digest(*lines, **more):
        table(folder, ("onset", "duration", "word", "file"), *lines)
        return sounds.load(folder, events=True, **more).digest

    one = digest((0, 1, "a", "one"), (1, 1, "b", "one"))
    assert one == digest((1, 1, "b", "one"), (0, 1, "a", "one"), category="word")
    assert len({one, digest((0, 1, "a", "one"), (1, 0.9, "b", "one")),
                digest((0, 1, "a", "one"), (0.9, 1, "b", "one")),
                digest((0, 1, "a", "two"), (1, 1, "b", "two")),
                sounds.load(folder).digest}) == 5  # fmt: skip
    soundfile.write(folder / "one.wav", np.full(2 * RATE, 0.25), RATE)
    assert one != digest((0, 1, "a", "one"), (1, 1, "b", "one"))


def test_parts_may_overlap_and_are_no_copies_of_each_other(folder):
    table(folder, ("onset", "duration", "word", "file"), (0, 1, "a", "one"), (0, 1, "b", "one"),
          (0, 2, "c", "two"))  # fmt: skip
    stimuli = sounds.load(folder, events=True)
    assert names_of_copies(stimuli) == []
    soundfile.write(folder / "two.wav", soundfile.read(folder / "one.wav")[0], RATE, "FLOAT")
    assert names_of_copies(sounds.load(folder, events=True)) == [["a-1", "b-2", "c-3"]]


def test_some_of_the_parts(folder):
    table(folder, ("onset", "duration", "word", "file"), (0, 1, "a", "one"), (1, 1, "b", "one"),
          (0, 2, "c", "two"))  # fmt: skip
    stimuli = sounds.load(folder, events=True)
    some = stimuli.subset([0, 2])
    assert some.names == ("a-1", "c-3") and some.within.labels["word"] == ("a", "c")
    np.testing.assert_array_equal(some.waveforms(RATE)[1], stimuli.waveforms(RATE)[2])
    assert stimuli.subset([0, 1, 2]) is stimuli


HEAD = ("onset", "duration", "word", "file")


@pytest.mark.parametrize(
    "lines, told",
    [
        ([HEAD, (1.5, 1, "a", "one")], r"line 2: event 'a' at 1.5 s to 2.5 s is outside .*'one'"),
        ([HEAD, (-0.5, 1, "a", "one")], "is outside its recording"),
        ([HEAD, (0, 0, "a", "one")], "lasts 0 s"),
        ([HEAD, (0, -1, "a", "one")], "lasts -1 s"),
        ([HEAD, (0, 1, "a", "one"), ("x", 1, "b", "one")], "line 3: onset 'x' is no number"),
        ([HEAD, (0, "inf", "a", "one")], "duration 'inf' is no number"),
        ([HEAD, (0, 1, "a", "three.wav")], "there is no recording 'three.wav': there are one, two"),
        ([("onset", "word"), (0, "a")], "no column 'duration' or 'offset': it has onset, word"),
        ([("word", "duration"), ("a", 1)], "no column 'onset'"),
        ([("onset", "duration"), (0, 1)], "does not say which recording it is of"),
        ([HEAD], "there is no event in"),
    ],
)
def test_bad_tables_are_told_in_a_sentence(folder, lines, told):
    table(folder, *lines)
    with pytest.raises(ValueError, match=told) as error:
        sounds.load(folder, events="events.tsv")
    assert "\n" not in str(error.value)


def test_an_end_rounded_beyond_the_recording_is_the_end(folder):
    table(folder, HEAD, (1, 1.02, "a", "one"))
    assert sounds.load(folder, events=True).durations.tolist() == [1.0]


@pytest.mark.parametrize(
    "arguments, told",
    [
        ({"events": True, "tier": "phones"}, r"has no tier 'phones': there are 'words', 'speaker'"),
        ({"events": True}, r"`tier` must say which to take: there are 'words', 'speaker'"),
        ({"events": True, "tier": "clicks"}, r"'clicks' holds points"),
        ({"events": True, "tier": "words", "category": "sex"}, r"no column or tier 'sex'"),
        ({"events": "nowhere.tsv"}, r"events 'nowhere.tsv' do not exist"),
        ({"events": "one.wav"}, r"must be a .tsv, .csv or .TextGrid"),
        ({"tier": "words"}, r"`tier` is of events"),
        ({"event": "words"}, r"did you mean `events`"),
    ],
)
def test_what_is_asked_for_and_is_not_there(folder, arguments, told):
    (folder / "one.TextGrid").write_text(LONG)
    with pytest.raises((ValueError, FileNotFoundError), match=told) as error:
        sounds.load(folder, **arguments)
    assert "\n" not in str(error.value)


def test_a_folder_without_events_says_what_it_needs(folder):
    with pytest.raises(FileNotFoundError, match=r"has no events: it needs a \.TextGrid.*'one'"):
        sounds.load(folder, events=True)


def test_a_table_that_is_no_text_is_told(folder):
    (folder / "events.tsv").write_bytes(b"onset\tduration\tword\n0\t1\t\xe4\n")
    with pytest.raises(ValueError, match="save it as CSV in UTF-8"):
        sounds.load(folder, events=True)

import json

import numpy as np
import pytest
import soundfile

from dynamics import probes, sounds
from dynamics.probes import hear
from dynamics.probes.task import new_splits
from dynamics.reference import synthesis
from dynamics.reference.tasks import PITCH_CLASSES

RNG = np.random.default_rng(0)


def write(path, *, seconds=0.1, rate=16000):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * RNG.standard_normal(round(seconds * rate)), rate)


@pytest.fixture
def birds(tmp_path):
    """A folder a class, ten sounds each."""
    for kind in ("tit", "wren"):
        for number in range(10):
            write(tmp_path / "birds" / kind / f"{kind}{number}.wav")
    return tmp_path / "birds"


def make_hear(root, *, folds=False, **metadata):
    """A task as HEAR's preprocessing writes it: three classes, at two sampling rates."""
    splits = [f"fold{i:02d}" for i in range(4)] if folds else ["train", "valid", "test"]
    labels = ["60", "61", "72"]
    content = {
        "task_name": "tiny",
        "version": "v1.0.0",
        "embedding_type": "scene",
        "prediction_type": "multiclass",
        "split_mode": "new_split_kfold" if folds else "trainvaltest",
        "sample_duration": 0.1,
        "evaluation": ["top1_acc"],
        "splits": splits,
        "mode": "full",
    }
    root.mkdir(parents=True)
    (root / "task_metadata.json").write_text(json.dumps(content | metadata))
    vocabulary = "\n".join(f"{i},{label}" for i, label in enumerate(labels))
    (root / "labelvocabulary.csv").write_text(f"idx,label\n{vocabulary}\n")
    for split in splits:
        # The same file name in every split, and labels as lists, as in HEAR.
        table = {f"a{i}.wav": [labels[i % 3]] for i in range(6)}
        (root / f"{split}.json").write_text(json.dumps(table))
        for rate in (16000, 48000):
            for name in table:
                write(root / str(rate) / split / name, rate=rate)
    return root


def test_spoken_digits_are_split_as_their_authors_say_and_no_recording_is_in_two(data_root):
    digit, speaker = probes.load("fsdd-digit"), probes.load("fsdd-speaker")
    assert len(digit.classes) == 10 and len(speaker.classes) == 6
    takes = {split: set() for split in ("train", "valid", "test")}
    for name, split, row in zip(digit.stimuli.names, digit.splits, digit.labels):
        own, who, take = name.split("_")
        takes[split].add(int(take))
        assert digit.classes[row.argmax()] == own
        assert speaker.classes[speaker.labels[digit.stimuli.names.index(name)].argmax()] == who
    assert takes["test"] == set(range(5)) and takes["valid"] == set(range(5, 10))
    assert not takes["train"] & (takes["valid"] | takes["test"])
    assert digit.stimuli.digest == speaker.stimuli.digest
    few = probes.load("fsdd-digit", limit=40)
    assert [few.splits.count(split) for split in ("train", "valid", "test")] == [40, 40, 40]


@pytest.mark.parametrize("name", ["pitch-class", "sound-category"])
def test_generated_tasks_depend_on_the_seed_alone_and_share_no_sound(name):
    size = {"train": 2, "valid": 1, "test": 1, "seconds": 0.3}
    task = probes.load(name, **size)
    assert task.stimuli.digest == probes.load(name, **size).stimuli.digest
    assert task.stimuli.digest != probes.load(name, seed=1, **size).stimuli.digest
    waves = {source()[0].tobytes() for source in task.stimuli.sources}
    assert len(waves) == len(task.stimuli) == 4 * len(task.classes)
    (part,) = task.partitions
    assert not set(part.train) & set(part.test)
    assert (task.labels[part.test].sum(0) == 1).all()
    more = probes.load(name, **(size | {"train": 3}))  # sounds do not depend on how many there are
    assert more.stimuli.sources[-1]()[0].tobytes() == task.stimuli.sources[-1]()[0].tobytes()


def test_pitch_classes_sound_at_their_pitch():
    task = probes.load("pitch-class", train=1, valid=1, test=3, seconds=1.0)
    right = 0
    for row, source in zip(task.labels, task.stimuli.sources):
        wave, rate = source()
        spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), 4 * len(wave)))
        frequencies = np.fft.rfftfreq(4 * len(wave), 1 / rate)
        # Harmonic sum over all semitones of the range; octaves are forgiven.
        pitches = np.arange(36, 84)
        strength = [
            sum(
                spectrum[np.abs(frequencies - k * 440 * 2 ** ((p - 69) / 12)) < 6].max()
                for k in range(1, 6)
            )
            for p in pitches
        ]
        right += PITCH_CLASSES[pitches[int(np.argmax(strength))] % 12] == task.classes[row.argmax()]
    assert right / len(task.stimuli) > 0.75  # the rest are fifths, and missing fundamentals


def test_sound_categories_are_the_kinds_without_mixtures():
    task = probes.load("sound-category", train=1, valid=1, test=1, seconds=0.2)
    assert set(task.classes) == set(synthesis.KINDS) - {"mixture"}


def test_a_folder_a_class_is_split_class_by_class(birds):
    task = probes.load("folder", path=str(birds))
    assert task.name == "birds" and task.classes == ("tit", "wren")
    counts = {split: [0, 0] for split in ("train", "valid", "test")}
    for split, row in zip(task.splits, task.labels):
        counts[split][row.argmax()] += 1
    assert counts == {"train": [6, 6], "valid": [2, 2], "test": [2, 2]}
    assert task.splits == probes.load("folder", path=str(birds)).splits
    assert task.splits != probes.load("folder", path=str(birds), seed=1).splits


def test_labels_and_splits_of_a_table_are_taken(birds):
    rows = ["name,label,split"]
    for number in range(10):
        split = ["train", "valid", "test"][number % 3]
        rows += [f"tit{number}.wav,small;grey,{split}", f"wren{number},small,{split}"]
    (birds / "labels.csv").write_text("\n".join(rows))
    one = probes.load("folder", path=str(birds))
    assert one.classes == ("small", "small;grey") and one.metric == "accuracy"
    several = probes.load("folder", path=str(birds), multilabel=True)
    assert several.classes == ("grey", "small") and several.metric == "mAP"
    row = several.stimuli.names.index("tit4")
    assert several.labels[row].tolist() == [True, True] and several.splits[row] == "valid"
    folds = (birds / "labels.csv").read_text().replace("train", "fold0")
    folds = folds.replace("valid", "fold1").replace("test", "fold2")
    (birds / "labels.csv").write_text(folds)
    assert len(probes.load("folder", path=str(birds)).partitions) == 3


def test_a_hear_folder_has_its_official_split_and_vocabulary(tmp_path):
    task = probes.load("hear", path=str(make_hear(tmp_path / "tiny-v1.0.0-full")))
    assert task.name == "tiny" and task.classes == ("60", "61", "72")
    assert task.stimuli.names[0] == "test/a0.wav" or "train/a0.wav" in task.stimuli.names
    assert {source()[1] for source in task.stimuli.sources} == {48000}
    (part,) = task.partitions
    train, valid = part.choices[0]
    assert [len(rows) for rows in (train, valid, part.test)] == [6, 6, 6]
    assert all(task.stimuli.names[row].startswith("test/") for row in part.test)
    assert task.labels[task.stimuli.names.index("valid/a4.wav")].tolist() == [False, True, False]
    assert task.metric == "accuracy" and task.chroma is None


def test_hear_folds_test_each_once_and_choose_by_the_next(tmp_path):
    task = probes.load("hear", path=str(make_hear(tmp_path / "t", folds=True)))
    parts = task.partitions
    assert len(parts) == 4
    tested = np.concatenate([part.test for part in parts])
    assert sorted(tested.tolist()) == list(range(24))
    names = np.array([name.split("/")[0] for name in task.stimuli.names])
    for number, part in enumerate(parts):
        ((train, valid),) = part.choices
        assert set(names[part.test]) == {f"fold{number:02d}"}
        assert set(names[valid]) == {f"fold{(number + 1) % 4:02d}"}
        assert not set(names[train]) & (set(names[valid]) | set(names[part.test]))


def test_hear_pitch_tasks_have_chroma_and_multilabel_ones_mean_average_precision(tmp_path):
    pitch = make_hear(tmp_path / "pitch", evaluation=["pitch_acc", "chroma_acc"])
    task = probes.load("hear", path=str(pitch))
    assert task.metric == "pitch accuracy" and task.chroma.tolist() == [0, 1, 0]
    several = make_hear(tmp_path / "fsd", evaluation=["mAP"], prediction_type="multilabel")
    table = json.loads((several / "train.json").read_text())
    (several / "train.json").write_text(json.dumps(table | {"a0.wav": ["60", "72"], "a1.wav": []}))
    task = probes.load("hear", path=str(several))
    assert task.metric == "mAP" and task.multilabel
    row = task.stimuli.names.index("train/a0.wav")
    assert task.labels[row].tolist() == [True, False, True]
    assert not task.labels[task.stimuli.names.index("train/a1.wav")].any()


def test_the_six_tasks_of_the_study_are_presets(tmp_path, monkeypatch):
    assert len(hear.PRESETS) == 6
    folder = tmp_path / "hear" / "esc50-v2.0.0-full"
    make_hear(folder, folds=True, task_name="esc50")
    monkeypatch.setenv("DYNAMICS_DATA", str(tmp_path))
    assert probes.load("hear-esc50").name == "esc50"
    assert probes.load("hear-esc50", root=str(tmp_path / "hear"), limit=3).labels.shape == (12, 3)
    with pytest.raises(FileNotFoundError, match=r"tfds_gtzan.*not a HEAR task folder"):
        probes.load("hear-gtzan")


def test_stimuli_categories_are_folds_that_each_choose_for_the_others():
    stimuli = sounds.load("synthetic", per_kind=5, seconds=0.1)
    task = probes.load("stimuli-category", stimuli=stimuli)
    assert task.stored and len(task.partitions) == 5
    for part in task.partitions:
        assert len(part.choices) == 4
        assert not set(part.train) & set(part.test)
        valid = np.concatenate([rows for _, rows in part.choices])
        assert sorted(valid) == sorted(part.train)
        assert task.labels[part.test].sum(0).tolist() == [1] * len(task.classes)


def _event(root):
    return make_hear(root / "t", embedding_type="event")


def _other_metric(root):
    return make_hear(root / "t", evaluation=["segment_1s_er"])


def _no_split(root):
    (make_hear(root / "t") / "valid.json").unlink()
    return root / "t"


def _no_sound(root):
    (make_hear(root / "t") / "48000" / "test" / "a3.wav").unlink()
    return root / "t"


def _no_rate(root):
    import shutil

    made = make_hear(root / "t")
    for rate in ("16000", "48000"):
        shutil.rmtree(made / rate)
    return made


def _unknown_label(root):
    made = make_hear(root / "t")
    (made / "labelvocabulary.csv").write_text("idx,label\n0,60\n1,61\n")
    return made


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_event, "detection of events"),
        (_other_metric, "scored by 'segment_1s_er'"),
        (_no_split, "no valid.json"),
        (_no_sound, "a3.wav is missing"),
        (_no_rate, "sampling rate"),
        (_unknown_label, "'72' is not among the classes"),
    ],
)
def test_a_hear_folder_that_does_not_fit_is_one_sentence(tmp_path, spoil, words):
    with pytest.raises((ValueError, FileNotFoundError), match=words) as caught:
        probes.load("hear", path=str(spoil(tmp_path)))
    assert "\n" not in str(caught.value)


def _table(*rows):
    def spoil(birds):
        (birds / "labels.csv").write_text("\n".join(rows))

    return spoil


def _all(label="x", split=""):
    return [f"{kind}{i},{label},{split}" for kind in ("tit", "wren") for i in range(10)]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda b: write(b / "stray.wav"), "'stray' .* has no label"),
        (_table(*_all()[1:]), "no row for stimulus 'tit0'"),
        (_table("other,x,", *_all()), "'other', which is no sound"),
        (_table("tit0,,", *_all()[1:]), "line 1: needs a name and a label"),
        (_table("tit0,x,", *_all()), "'tit0' has a row already"),
        (_table(*_all()), r"one class \('x'\)"),
        (_table("tit0,y,", *_all()[1:]), "class 'y' has 1 member, and training"),
        (_table(*_all("x", "train")[:5], *_all("y", "dev")[5:]), "unknown split 'dev'"),
        (_table(*_all("x", "train")[:5], *_all("y", "test")[5:]), "no sound in its split 'valid'"),
        (
            _table(*_all("x", "train")[:5], *_all("y", "valid")[5:10], *_all("y", "test")[10:]),
            "one class",
        ),
        (_table(*_all("x", "train")[:5], *_all("x", "")[5:]), "'tit5' has no split"),
    ],
)
def test_labels_that_do_not_fit_are_one_sentence(birds, spoil, words):
    spoil(birds)
    with pytest.raises(ValueError, match=words) as caught:
        probes.load("folder", path=str(birds))
    assert "\n" not in str(caught.value)


def test_a_class_that_is_tested_and_never_taught_is_refused(birds):
    splits = ["train", "valid", "test"]
    rows = [f"tit{i},x,{splits[i % 3]}" for i in range(10)]
    rows += [f"wren{i},y,{splits[i % 3]}" for i in range(9)] + ["wren9,z,test"]
    (birds / "labels.csv").write_text("\n".join(rows))
    with pytest.raises(ValueError, match=r"class 'z' is tested but has no training sound"):
        probes.load("folder", path=str(birds))


def test_unknown_names_and_arguments_are_refused_with_what_there_is(tmp_path):
    with pytest.raises(ValueError, match="unknown task 'fsdd': there are fsdd-digit"):
        probes.load("fsdd")
    with pytest.raises(TypeError, match="takes no argument 'depth'"):
        probes.load("pitch-class", depth=3)
    with pytest.raises(TypeError, match="needs the argument `path`"):
        probes.load("folder")
    with pytest.raises(TypeError, match="needs `stimuli`"):
        probes.load("stimuli-category")
    with pytest.raises(ValueError, match="`test` must be at least 1"):
        probes.load("pitch-class", test=0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no audio"):
        probes.load("folder", path=str(tmp_path / "empty"))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        probes.load("folder", path=str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="class 'b' has 2 members"):
        new_splits(["a", "a", "a", "b", "b"], name="t")

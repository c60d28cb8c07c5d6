"""Tables of labels: what is read, and what is refused in one sentence."""

import pytest

from dynamics import probes, sounds
from dynamics.sounds.labels import Label, read_labels, read_vocabulary


def table(tmp_path, content):
    path = tmp_path / "labels.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8-sig"))
    return path


@pytest.mark.parametrize("header", ["", "name,category\n", "File,label,split\n", "filename,x\n"])
def test_names_labels_and_splits_are_read(tmp_path, header):
    path = table(tmp_path, f'{header}a.wav, dog ,train\n\n"b, c",cat\n')
    assert read_labels(path) == {"a": Label("dog", "train"), "b, c": Label("cat", "")}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a,x\nb\n", "line 2: needs a name and a label"),
        ("a,x\n,y\n", "line 2: needs a name and a label"),
        ("a,x\na.flac,y\n", "line 2: 'a' has a row already"),
        ("säge,x\n".encode("latin-1"), "no table of text .*UTF-8"),
        ('a,"' + "x" * 200_000, "no table of text .*UTF-8"),
    ],
)
def test_what_is_no_table_of_labels_is_one_sentence(tmp_path, content, words):
    with pytest.raises(ValueError, match=words) as caught:
        read_labels(table(tmp_path, content))
    assert "\n" not in str(caught.value)


def test_stimuli_and_tasks_have_the_same_sentence(tmp_path):
    import numpy as np
    import soundfile

    for name in "ab":
        soundfile.write(
            tmp_path / f"{name}.wav", np.random.default_rng(0).normal(size=800) / 9, 8000
        )
    table(tmp_path, "a,x\nb\n")
    for load in (sounds.from_folder, lambda path: probes.load("folder", path=path)):
        with pytest.raises(ValueError, match="line 2: needs a name and a label"):
            load(str(tmp_path))


def test_a_vocabulary_is_in_the_order_of_its_indices_whatever_else_it_states(tmp_path):
    path = table(tmp_path, 'label,n,idx\n"c, sharp",5,10\nb,,2\n\na,1,0\n')
    assert read_vocabulary(path) == ["a", "b", "c, sharp"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "must have the columns idx and label"),
        ("idx,label\n", "must have the columns idx and label"),
        ("idx,name\n0,a\n", "must have the columns idx and label"),
        ("idx,label\nzero,a\n", "'zero,a' is no number and its label"),
        ("idx,label\n0\n", "'0' is no number and its label"),
        ("idx,label\n0,säge\n".encode("latin-1"), "no table of text"),
    ],
)
def test_what_is_no_vocabulary_is_one_sentence(tmp_path, content, words):
    with pytest.raises(ValueError, match=words) as caught:
        read_vocabulary(table(tmp_path, content))
    assert "\n" not in str(caught.value)

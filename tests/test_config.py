import pytest
import yaml

from dynamics.config import Choice, load_config

GOOD = {
    "run": "tiny",
    "checkpoints": "somewhere",
    "model": {"name": "encodecmae", "arguments": {"heads": 2}},
    "stimuli": "synthetic",
    "targets": ["simulated"],
}


def write(tmp_path, content):
    path = tmp_path / "sweep.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def test_bare_names_and_mappings_are_both_choices(tmp_path):
    sweep = load_config(write(tmp_path, GOOD | {"metrics": ["rsa", {"name": "ridge"}]}))
    assert sweep.targets == (Choice(name="simulated"),)
    assert [metric.label for metric in sweep.metrics] == ["rsa", "ridge"]
    assert str(sweep.store) == "store/tiny.zarr"
    assert str(sweep.figures) == "store/tiny/figures"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"metrcs": ["rsa"]}, ["sweep.yaml, line", "`metrcs`", "did you mean `metrics`"]),
        ({"model": {"name": "x", "argumens": {}}}, ["model.argumens", "`arguments`"]),
        ({"batch_size": "many"}, ["batch_size", "'many'"]),
        ({"metrics": []}, ["metrics"]),
        ({"run": "a/b"}, ["plain file name"]),
        ({"targets": ["x", "x"]}, ["'x' twice", "label"]),
    ],
)
def test_a_fault_names_file_line_and_key(tmp_path, change, words):
    with pytest.raises(ValueError) as caught:
        load_config(write(tmp_path, GOOD | change))
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_missing_key_is_named(tmp_path):
    with pytest.raises(ValueError, match="`stimuli` is missing"):
        load_config(write(tmp_path, {k: v for k, v in GOOD.items() if k != "stimuli"}))


def test_the_line_of_an_unknown_key_is_right(tmp_path):
    text = "run: a\ncheckpoints: b\nmodel: c\nstimuli: d\ntargets: [e]\nfoo: 1\n"
    with pytest.raises(ValueError, match=r"line 6: unknown key `foo`"):
        load_config(write(tmp_path, text))


def test_a_key_that_stands_twice_is_refused(tmp_path):
    text = "run: a\ncheckpoints: b\nmodel: {name: c,\n  name: d}\nstimuli: d\n"
    with pytest.raises(ValueError, match=r"line 4: the key `model\.name` stands in line 3 already"):
        load_config(write(tmp_path, text))


def test_what_is_not_yaml_or_not_a_mapping_is_refused(tmp_path):
    with pytest.raises(ValueError, match="line 1: not valid YAML"):
        load_config(write(tmp_path, "run: [a"))
    with pytest.raises(ValueError, match="expected a mapping"):
        load_config(write(tmp_path, "- a\n"))
    with pytest.raises(FileNotFoundError, match="no config file"):
        load_config(tmp_path / "none.yaml")

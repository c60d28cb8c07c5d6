"""Names are looked up one way in every table, and every argument is listed with what it is."""

import ast
import importlib
import inspect
import re
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

import dynamics
from dynamics import (
    analysis,
    brains,
    datasets,
    models,
    probes,
    sounds,
)
from dynamics.cli import console
from dynamics.cli.lists import _LISTS
from dynamics.cli.program import app
from dynamics.config import Choice
from dynamics.extraction import poolings
from dynamics.reference import synthesis
from dynamics.reference.recordings import Synthesised
from dynamics.tables import ArgumentError, Later, Table

MISSPELT = {
    "metric": (lambda: analysis.check_choice(Choice(name="rigde"), ["x"]), "rigde", "ridge"),
    "adapter": (lambda: models.check_arguments("hugingface", {}), "hugingface", "huggingface"),
    "pooling": (lambda: poolings.make("windos"), "windos", "windows"),
    "task": (lambda: probes.load("pitch-clas"), "pitch-clas", "pitch-class"),
    "stimulus set": (lambda: sounds.load("natsound156"), "natsound156", "natsound165"),
    "brain target": (lambda: brains.load("simulatd"), "simulatd", "simulated"),
    "data set": (lambda: datasets.folder("braindn"), "braindn", "braindnn"),
    "kind of sound": (lambda: synthesis.sound("chrip", None), "chrip", "chirp"),
}


@pytest.mark.parametrize("what", MISSPELT)
def test_a_misspelt_name_of_every_kind_is_told_the_same_way(what):
    load, name, near = MISSPELT[what]
    with pytest.raises(ValueError) as told:
        load()
    sentence = str(told.value)
    assert sentence.startswith(f"unknown {what} {name!r}: there are ")
    assert sentence.endswith(f"; did you mean {near!r}?")
    assert near in sentence.partition("there are ")[2].partition(";")[0]


WRONG = {
    "metric 'rsa'": lambda **given: analysis.check_choice(Choice(name="rsa", arguments=given), []),
    "adapter 'encodecmae'": lambda **given: models.check_arguments("encodecmae", given),
    "pooling 'windows'": lambda **given: poolings.make("windows", **given),
    "task 'pitch-class'": lambda **given: probes.load("pitch-class", **given),
    "stimulus set 'synthetic'": lambda **given: sounds.load("synthetic", **given),
    "brain target 'simulated'": lambda **given: brains.load("simulated", **given),
}


@pytest.mark.parametrize("who", WRONG)
def test_an_argument_that_is_none_is_told_the_same_way_of_every_kind(who):
    with pytest.raises(ArgumentError) as told:
        WRONG[who](xyzzy=1)
    assert str(told.value).startswith(f"{who} takes no argument 'xyzzy': it takes ")
    near = str(told.value).rpartition(", ")[2].split()[-1]
    with pytest.raises(ArgumentError, match=rf"'{near}s': did you mean `{near}`\? it takes "):
        WRONG[who](**{f"{near}s": 1})


def test_an_argument_that_is_lacking_is_named_and_where_there_is_none_that_is_said(tmp_path):
    with pytest.raises(ArgumentError, match=r"^task 'hear' needs the argument `path`: \w+ .*[^.]$"):
        probes.load("hear")
    with pytest.raises(ArgumentError, match=r"^pooling 'mean' takes no arguments, not 'rate'"):
        poolings.make("mean", rate=3)
    with pytest.raises(ArgumentError, match=r"brain.npz' takes no arguments, not 'seed'"):
        brains.load(str(tmp_path / "brain.npz"), seed=1)
    with pytest.raises(ArgumentError, match="takes no argument 'seed': it takes name"):
        sounds.load(tmp_path, seed=1)
    # Whoever caught what it was before goes on doing so.
    assert issubclass(ArgumentError, TypeError) and issubclass(ArgumentError, ValueError)


def test_a_name_like_none_has_no_nearest_one():
    with pytest.raises(ValueError, match=r"^unknown pooling 'xyz': there are last, .*, windows$"):
        poolings.make("xyz")
    with pytest.raises(ValueError, match="unknown kind of sound 'moo': there are harmonic"):
        Synthesised(["moo"], sounds=1, seconds=1, seed=0)


def every_entry():
    entries = []
    for command, _, where in _LISTS:
        module, _, attribute = where.partition(":")
        table = getattr(importlib.import_module(module), attribute)
        entries += [(command, table, name) for name in table]
    return entries


@pytest.mark.parametrize(("command", "table", "name"), every_entry())
def test_every_argument_of_every_entry_is_listed_with_what_it_is(command, table, name):
    listed = CliRunner().invoke(app, [command, name], env={"COLUMNS": "1000"})
    assert listed.exit_code == 0
    lines = listed.output.splitlines()
    assert len(lines[0]) > 10  # what it is
    function = getattr(table[name], "function", table[name])
    function = function.load() if isinstance(function, Later) else function
    taken = [key for key in inspect.signature(function).parameters if key not in table.filled]
    for key in [*taken, *table.shared]:
        pattern = re.compile(rf"{key}(?: \((?:must be given|default: .*?)\))?: (.*)")
        (about,) = (found[1] for line in lines if (found := pattern.fullmatch(line)))
        assert len(about) > 5 and "As for" not in about, key


@pytest.mark.parametrize("command", [command for command, *_ in _LISTS])
def test_a_table_is_listed_line_by_line(command, monkeypatch):
    monkeypatch.setattr(console.out, "width", 200)
    listed = CliRunner().invoke(app, [command]).output
    for word, table, name in every_entry():
        if word == command:
            assert f" {name} " in listed.replace("\n", " "), name
            assert table.summary(name)[:20] in listed


def one(a, *, b=2, hidden=None):
    """Do one thing.

    More of it.

    Parameters
    ----------
    a : int
        The first,
        on two lines.
    b, c : str
        The others.

    Raises
    ------
    ValueError
        Never.
    """


def other(*, a=1, b=3, d=4, **more):
    """Do another thing.

    Parameters
    ----------
    a, b
        As for `one`. Then more.
    """


def test_arguments_are_read_off_signature_and_docstring():
    table = Table("thing", {"one": one, "other": other, "part": partial(one, b=5)},
                  filled=["hidden"])  # fmt: skip
    assert table.summary("part") == table.summary("one") == "Do one thing."
    found = table.arguments("one")
    assert list(found) == ["a", "b"] and found["a"].needed and not found["b"].needed
    assert found["a"].about == "The first, on two lines." and found["b"] == (2, "The others.")
    assert table.arguments("part")["b"] == (5, "The others.")
    again = table.arguments("other")
    assert again["a"] == (1, "The first, on two lines. Then more.")
    assert list(again) == ["a", "b", "d"] and again["d"].about == ""


ROOT = Path(dynamics.__file__).parent
# `dynamics pretrain` and `demo` train.
MAY = {("sweep/demonstration.py", "dynamics.reference")}


def test_nothing_imports_the_reference_run():
    found = set()
    for path in sorted(ROOT.rglob("*.py")):
        file = path.relative_to(ROOT).as_posix()
        if file.startswith("reference/"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
            elif isinstance(node, ast.Import):
                names = [each.name for each in node.names]
            ours = [name for name in names if f"{name}.".startswith("dynamics.reference.")]
            found |= {(file, name) for name in ours[:1]}
    assert found == MAY


@pytest.mark.parametrize("package", ["metrics", "models", "reference"])
def test_no_name_of_a_package_hides_a_module_of_its_own(package):
    room = importlib.import_module(f"dynamics.{package}")
    modules = {path.stem for path in (ROOT / package).glob("*.py")} - {"__init__"}
    assert not modules & set(getattr(room, "__all__", ()))

"""What a message advises can be done: the key, argument, command, option or name exists."""

import ast
import inspect
import re
import tomllib
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import typer
import yaml
from plots_results import of_one_subject, results

import dynamics
import dynamics.accessor
from dynamics import (
    analysis,
    brains,
    models,
    probes,
    sounds,
)
from dynamics.analysis import variables
from dynamics.analysis.checks import RESERVED, check_choice
from dynamics.analysis.registry import METHODS
from dynamics.cli.program import app
from dynamics.compute import BATCH, LOCAL, Compute
from dynamics.config import Choice, Sweep, validate
from dynamics.config.collection import _File
from dynamics.config.sweep import _models_in
from dynamics.extraction import poolings
from dynamics.models.hearing import Windows

ROOT = Path(dynamics.__file__).parent
TABLES = (METHODS, models.ADAPTERS, probes.TASKS, poolings.POOLINGS, sounds.SOUNDS, brains.TARGETS)
# Names in files of others, and commands of the system: not ours to hold.
FOREIGN = {
    "auto_map",
    "model_type",
    "weight_map",
    "cp -r",
    "zip -0 -r",
    "teacher",
    "model_ema.pt",
    "zarr.json",
} | {"activations/step"}
# Of xarray, of which these are methods and arguments.
XARRAY = {"rename", "data_vars", "assign_attrs", "isel(step=[2])", "zarr_format=3"}
# What results and stores hold beside their variables.
HELD = {"step", "stimulus", "layer", "resample", "identity", "confidence", "category", "path",
        "spread", "paired", "correlation", "limit", "group_of_neuroid", "group",
        "status"}  # fmt: skip
VALUES = {"auto", "none", "cpu", "r2", "r2_corrected", "score", "trained", "ema"}


def messages():
    """Every text in the code that is no docstring, with the module it is in."""
    for path in sorted(ROOT.rglob("*.py")):
        tree = ast.parse(path.read_text())
        alone = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
        parts = {id(p) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for p in n.values}
        module = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
        if module == "dynamics.config.keys":
            continue  # what each key is, not advice: the schema's test holds it
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                text = "".join(
                    str(p.value) if isinstance(p, ast.Constant) else "{}" for p in node.values
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                if id(node) in alone | parts:
                    continue
                text = node.value
            else:
                continue
            yield module.removesuffix(".__init__"), tree, text


def advised():
    found = {}
    for module, tree, text in messages():
        for token in re.findall(r"`([^`]+)`", text):
            found.setdefault((token, module), (tree, text))
    return found


def keys_of(model):
    for name, field in model.model_fields.items():
        yield name
        for inner in _models_in(field.annotation):
            yield from keys_of(inner)


def parameters(tree):
    """Arguments of all functions of a module, and what its dataclasses and tuples have."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            every = [*node.args.args, *node.args.kwonlyargs, *node.args.posonlyargs]
            yield from (each.arg for each in every)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


SWEEP = set(keys_of(Sweep)) | set(keys_of(_File)) | set(Windows.__dataclass_fields__)
SWEEP |= set(Compute._fields)
NAMES = {name for table in TABLES for name in table} | {LOCAL, *BATCH}
ARGUMENTS = {name for table in TABLES for entry in table for name in table.parameters(entry)} | {
    *RESERVED,
    *inspect.signature(sounds.from_folder).parameters,
}
COMMANDS = typer.main.get_command(app).commands
EXTRAS = tomllib.loads((ROOT.parent / "pyproject.toml").read_text())["project"][
    "optional-dependencies"
]

OPTIONS = {name for each in COMMANDS.values() for one in each.params for name in one.opts}


def is_extra(token):
    match = re.fullmatch(r"training-dynamics\[(.+)\]", token)
    return bool(match) and (match[1] in EXTRAS or match[1] == "{}")


def is_command(token):
    words = token.split()
    if words[0] != "dynamics" or len(words) < 2 or words[1] not in COMMANDS:
        return False
    options = {name for each in COMMANDS[words[1]].params for name in each.opts}
    return all(word in options for word in words if word.startswith("--"))


def is_code(token):
    """Whether a dotted name of the package is there, and takes what is given to it."""
    match = re.search(r"\bdynamics((?:\.\w+)+)", token)
    if not match:
        return False
    module, _, name = match[0].rpartition(".")
    return hasattr(import_module(module), name)


def is_of_results(token):
    """Whether results have such a method, which takes what is given to it by name."""
    match = re.fullmatch(r"results\.dynamics\.(\w+)\((?:(\w+)=.*)?\)", token)
    if not match:
        return token == "help(results.dynamics)"
    method = getattr(dynamics.accessor.Dynamics, match[1], None)
    return method is not None and (not match[2] or match[2] in inspect.signature(method).parameters)


def is_setting(token, tree):
    """Whether `key: value` would be taken by a sweep, or is an argument of something it names."""
    key, _, value = token.partition(":")
    if not re.fullmatch(r"\w+", key):
        return False
    if key in SWEEP and value.strip() and "{}" not in value and "<" not in value:
        minimal = {"run": "r", "checkpoints": "c", "model": "encodecmae", "stimuli": "s",
                   "metrics": ["ridge"], "targets": []}  # fmt: skip
        try:
            validate(minimal | yaml.safe_load(token), origin="advice")
        except ValueError:
            return False
        return True
    return key in SWEEP | ARGUMENTS


def is_followable(token, tree):
    plain = re.fullmatch(r"\w+", token)
    given = re.fullmatch(r"(\w+)=.*", token)
    return (
        token in FOREIGN | XARRAY
        or token in ("{}", "{}:{}", "{}/{}")
        or (plain and token in SWEEP | ARGUMENTS | NAMES | HELD | VALUES | set(variables.ATTRS))
        or (plain and token in set(parameters(tree)))
        or (given and given[1] in all_parameters())
        or is_command(token)
        or is_code(token)
        or is_of_results(token)
        or token.partition(" ")[0] in OPTIONS
        or token.startswith(("pip install", "run.<", "listener.<"))
        or is_extra(token)
        or token.startswith(("xr.set_options(", "assign_attrs("))
        or is_setting(token, tree)
    )


def all_parameters():
    return {name for _, tree, _ in _TREES for name in parameters(tree)}


_TREES = list({module: (module, tree, None) for module, tree, _ in messages()}.values())
ADVISED = advised()


@pytest.mark.slow
def test_what_messages_name_exists():
    wrong = [
        f"{module}: `{token}` in {text!r}"
        for (token, module), (tree, text) in ADVISED.items()
        if not is_followable(token, tree)
    ]
    assert wrong == []
    assert len(ADVISED) > 80  # the messages were found


@pytest.mark.parametrize(
    "token",
    ["dynamics compute", "dynamics redo {} --steps {}", "resample: 50", "dtype: float99",
     "trust_checkpoints: perhaps", "dynamics.plots.pile", "training-dynamics[hubs]", "mising",
     "--steps", "mask_missing: true"],
)  # fmt: skip
def test_what_does_not_exist_is_found_out(token):
    assert not is_followable(token, ast.parse(""))


@pytest.mark.parametrize("name", METHODS)
def test_a_metric_that_is_told_to_mask_missing_values_takes_that(name):
    if METHODS[name].missing == "mask":
        check_choice(Choice(name=name, label=name, arguments={"missing": "mask"}), [])
        assert "missing" in analysis.arguments(name)


def test_arguments_that_advice_gives_to_metrics_are_taken_by_them():
    for name, arguments in (
        ("rsa", {"compare": "spearman"}),
        ("rsa", {"distance": "euclidean"}),
        ("rsa", {"by": "region"}),
        ("ridge", {"folds": 5}),
        ("ridge", {"shuffle": "overall"}),
        ("ridge", {"targets": []}),
    ):
        check_choice(Choice(name=name, label=name, arguments=arguments), [])
    for record in METHODS.values():
        for other in re.findall(r"`(\w+)`", record.without_resamples):
            assert other in METHODS


def test_whoever_is_told_to_ask_over_subjects_has_them():
    many, one = (each.drop_vars("resample_score") for each in (results(), of_one_subject()))
    with pytest.raises(ValueError, match=r"or ask `over='subjects'`"):
        many.dynamics.order()
    assert np.isfinite(many.dynamics.order(over="subjects")["rank"]).all()
    with pytest.raises(ValueError, match="there are no intervals") as told:
        one.dynamics.order()
    assert "subjects" not in str(told.value)


def test_runs_can_be_compared_as_the_message_on_pairs_says():
    first = results().assign_attrs(identity={"metric": "ridge", "seed": 0, "resamples": 20})
    second = first.isel(resample=slice(10))
    with pytest.raises(ValueError, match="are no pairs: compare with `paired=False`"):
        first.dynamics.compare_with(second)
    found = first.dynamics.compare_with(second, paired=False)
    assert found.attrs["paired_stimuli"] == 0
    assert first.dynamics.compare_with(first).attrs["paired_stimuli"] == 1

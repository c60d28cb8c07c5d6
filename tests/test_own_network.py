"""One's own network and one's own files: found, read as far as is safe, and told apart in words."""

import importlib
import json
import os
import re
import shutil
import sys

import pytest
import torch
import yaml

from dynamics import checkpoints, models, plugins
from dynamics.checkpoints.leftovers import left_out

NETWORK = """
import torch
class Net(torch.nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.front = torch.nn.Conv1d(1, width, 400, 160)
    def forward(self, x):
        return self.front(x[:, None])
class Config:
    width = 4
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder with a module of one's own, which nothing else has imported."""
    (tmp_path / "ownnet.py").write_text(NETWORK)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(plugins, "_folders", [])
    monkeypatch.delitem(sys.modules, "ownnet", raising=False)
    yield tmp_path
    sys.modules.pop("ownnet", None)


def sweep_file(folder, **changes):
    arguments = {"factory": "ownnet:Net", "layers": "front"}
    content = {
        "run": "own",
        "checkpoints": str(folder / "saved"),
        "model": {"name": "module", "arguments": arguments},
        "stimuli": {"name": "synthetic", "arguments": {"per_kind": 1}},
        "store": str(folder / "own.zarr"),
    }
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(content | changes))
    return path


def written(folder, code):
    """Save checkpoints as a training script does, and forget its modules."""
    (folder / "saved").mkdir(exist_ok=True)
    kept = list(sys.path)
    sys.path.append(str(folder))
    try:
        ownnet = importlib.import_module("ownnet")
        torch.manual_seed(0)
        names = {"net": ownnet.Net(), "ownnet": ownnet}
        torch.save(eval(code, names), folder / "saved" / "step_7.pt")
    finally:
        sys.path[:] = kept
        sys.modules.pop("ownnet", None)


def test_a_factory_is_found_beside_the_yaml_from_any_folder(own, command, tmp_path_factory):
    written(own, "net.state_dict()")
    said = command(tmp_path_factory.mktemp("elsewhere"), "crawl", sweep_file(own), "--quiet")
    assert "(2 steps, 1 of them new)" in said.out  # with an untrained network
    assert said.err == ""


def test_a_module_that_is_nowhere_is_one_sentence_before_any_checkpoint(own, command):
    written(own, "net.state_dict()")
    arguments = {"factory": "nowhere_net:Net", "layers": "front"}
    path = sweep_file(own, model={"name": "module", "arguments": arguments})
    said = command(own, "crawl", path, code=2)
    assert said.err.count("\n") == 1 and str(own) in said.err
    assert "there is no module 'nowhere_net', installed or in" in said.err
    assert not (own / "own.zarr").exists()


@pytest.mark.parametrize("body", ["1 / 0", "raise KeyError('x')"])
def test_a_module_or_a_factory_that_fails_is_one_sentence(own, command, body):
    written(own, "net.state_dict()")
    (own / "badnet.py").write_text(f"def build():\n    {body}\n")
    (own / "worse.py").write_text(f"{body}\n")
    for factory in ("badnet:build", "worse:Net"):
        arguments = {"factory": factory, "layers": "front"}
        path = sweep_file(own, model={"name": "module", "arguments": arguments})
        said = command(own, "crawl", path, code=2)
        assert said.err.count("\n") == 1 and factory.partition(":")[0] in said.err
        assert not (own / "own.zarr").exists()


GUESSES = [
    (
        {"factory": None},
        r"needs the argument `factory`: ``\"package.module:function\"``, also a class",
    ),
    ({"factory": "ownnet"}, "write it as package.module:function, such as `ownnet:Network`"),
    ({"factory": "ownnet.Net"}, "such as `ownnet:Net`"),
    ({"factory": "src/ownnet.py:Net"}, "names a module, not a file, such as `src.ownnet:Net`"),
    ({"factory": "ownnet.py"}, "such as `ownnet:Network`"),
    ({"factory": "ownnet:Nett"}, "has no attribute 'Nett'; did you mean `ownnet:Net`?"),
    ({"layers": None}, "needs the argument `layers`: Patterns"),
    ({"layers": "block"}, "no submodule matches 'block': there are front"),
    ({"options": {"size": 4}}, "'size'.*`dynamics models module` tells"),
    ({"takes": "mel"}, "`takes` is 'mel': use 'batch samples' or"),
    ({"sample_rate": "16k"}, "`sample_rate` is '16k': give a whole number of Hz"),
]


@pytest.mark.parametrize(("wrong", "said"), GUESSES)
def test_what_is_guessed_wrongly_is_one_sentence_that_leads_on(own, wrong, said):
    plugins.look_in(own)
    given = {"factory": "ownnet:Net", "layers": "front"} | wrong
    with pytest.raises((ValueError, TypeError), match=said) as caught:
        models.check("module", {key: value for key, value in given.items() if value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrapped", ["net", "{'model': net, 'step': 7}"])
def test_a_whole_pickled_network_is_listed_and_read_with_trust_alone(own, command, wrapped):
    written(own, wrapped)
    (row,) = json.loads(command(own, "checkpoints", sweep_file(own), "--json").out)
    plugins.look_in()
    sys.modules.pop("ownnet", None)
    assert row["step"] == 7
    assert row["verdict"] == (
        "a whole pickled network, which would construct ownnet.Net: needs trust_checkpoints"
    )
    (found,) = checkpoints.find(own / "saved")
    with pytest.raises(ValueError, match=r"would construct .*set `trust_checkpoints: true`"):
        checkpoints.read(found.uri)
    assert "ownnet" not in sys.modules  # nothing of it was imported
    plugins.look_in(own)
    state = checkpoints.read(found.uri, trust=True)
    assert set(state) == {"front.weight", "front.bias"}


def test_weights_beside_objects_of_a_package_that_is_not_here_are_read(tmp_path, own):
    written(own, "{'model': net.state_dict(), 'cfg': ownnet.Config(), 'step': 7}")
    taken = checkpoints.take(own / "saved" / "step_7.pt")
    assert set(taken.weights) == {"front.weight", "front.bias"}
    assert taken.note.endswith("without its objects of ownnet.Config, which are not installed here")
    assert checkpoints.find(own / "saved")[0].note == ""
    plugins.look_in(own)  # now it is here, and could run
    with pytest.raises(ValueError, match=r"would construct ownnet\.Config, which may run code"):
        checkpoints.take(own / "saved" / "step_7.pt")


def test_what_could_run_is_refused_whatever_is_beside_it(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, ("true",)

    torch.save({"model": {"a.weight": torch.ones(2)}, "cfg": Evil()}, tmp_path / "step_1.pt")
    with pytest.raises(ValueError, match="system, which may run code"):
        checkpoints.take(tmp_path / "step_1.pt")


def test_the_error_suggests_the_prefix_under_which_everything_is(own):
    plugins.look_in(own)
    model = models.load("module", factory="ownnet:Net", layers="front")
    state = {f"enc.{name}": value for name, value in model.network.state_dict().items()}
    more = {"dec.weight": torch.zeros(1), "dec.bias": torch.zeros(1)}
    with pytest.raises(ValueError, match=r"there with the argument `prefix: 'enc\.'`"):
        model.load_weights(state | more)
    other = models.load("module", factory="ownnet:Net", layers="front", prefix="enc.")
    other.load_weights(state | more)
    near = models.load("module", factory="ownnet:Net", layers="front", prefix="model.")
    with pytest.raises(ValueError, match=r"with the argument `prefix: 'model\.enc\.'`"):
        near.load_weights({f"model.{name}": value for name, value in (state | more).items()})
    with pytest.raises(ValueError, match="it lacks 2 weights") as caught:
        model.load_weights(more)
    assert "prefix" not in str(caught.value)


@pytest.fixture
def folder(tmp_path):
    state = {"a.weight": torch.ones(2)}
    for name in ("step_1.pt", "final.pt", "step_2.pt.tmp", ".step_3.pt"):
        torch.save(state, tmp_path / name)
    torch.save({"a": 1}, tmp_path / "step_4.pt")
    torch.save({"state": {}, "param_groups": []}, tmp_path / "optimizer_4.pt")
    (tmp_path / "events.json").touch()
    for name in ("run_a", "run_b"):
        (tmp_path / name).mkdir()
        torch.save(state, tmp_path / name / "weights.pt")
    return tmp_path


def test_copies_of_a_step_are_not_told_to_lack_one(tmp_path):
    for name in ("step_1.pt", "best.pt", "last.pt"):
        torch.save({"model": {"a.weight": torch.ones(2)}, "step": 1}, tmp_path / name)
    torch.save({"a.weight": torch.ones(2)}, tmp_path / "weights.0010")
    found = checkpoints.find(tmp_path)
    kinds = {kind.names: kind.what for kind in left_out(tmp_path, [each.uri for each in found])}
    other = [name for name in ("best.pt", "last.pt", "step_1.pt") if name not in found[0].uri]
    assert kinds[tuple(other)] == "of a step that another has"
    assert "another ending" in kinds["weights.0010",]


def test_folders_in_folders_are_told_with_a_glob_that_finds_what_is_in_them(tmp_path):
    for version in ("v0", "v1"):
        inner = tmp_path / version / "saved"
        inner.mkdir(parents=True)
        torch.save({"a.weight": torch.ones(2)}, inner / f"step_{version[1:]}0.ckpt")
    with pytest.raises(FileNotFoundError) as caught:
        checkpoints.find(tmp_path)
    glob = re.search(r"such as `(\S+)`", str(caught.value))[1]
    assert [each.step for each in checkpoints.find(glob)] == [0, 10]


def test_a_variable_that_is_not_set_is_named(monkeypatch):
    monkeypatch.delenv("NO_SUCH_PLACE", raising=False)
    with pytest.raises(FileNotFoundError, match="the environment variable NO_SUCH_PLACE is not"):
        checkpoints.find("${NO_SUCH_PLACE}/run")


def test_what_many_checkpoints_fail_by_is_said_once(own, command):
    written(own, "net.state_dict()")
    for step in (8, 9, 10, 11):
        shutil.copy(own / "saved/step_7.pt", own / "saved" / f"step_{step}.pt")
    arguments = {"factory": "ownnet:Net", "layers": "front", "options": {"width": 8}}
    path = sweep_file(own, model={"name": "module", "arguments": arguments}, duplicates="newer")
    said = command(own, "crawl", path, "--quiet", code=3).out.splitlines()
    assert re.search(r"\(0 steps and 6 that failed, \d of them new\)$", said[0])
    assert said[1].startswith("failed: step 0: the checkpoint does not fit Net: front.weight is 4x")
    assert said[2:] == ["failed: 5 more steps in the same way (7, 8, 9 ... 11)"]


def test_trust_is_said_once_a_folder(own, caplog):
    written(own, "net")
    plugins.look_in(own)
    for _ in range(3):
        checkpoints.read(own / "saved" / "step_7.pt", trust=True)
    assert caplog.text.count("trust_checkpoints is on") == 1


def test_what_a_folder_holds_besides_is_told_by_kind(folder):
    found = checkpoints.find(folder)
    assert [each.step for each in found] == [1]
    kinds = {kind.names: kind for kind in left_out(folder, [each.uri for each in found])}
    assert set(kinds) == {
        ("final.pt",), (".step_3.pt", "step_2.pt.tmp"), ("step_4.pt",), ("optimizer_4.pt",),
        ("events.json",), ("run_a", "run_b"),
    }  # fmt: skip
    assert "checkpoints: {0: FILE" in kinds["final.pt",].told()
    told = kinds["run_a", "run_b"].told()
    assert f"by step, `checkpoints: {{0: {folder}/run_a/weights.pt, ...}}`" in told
    assert kinds["events.json",].told() == "1 .json (events.json)"
    assert left_out("s3://bucket/x") == left_out(folder / "final.pt") == left_out({0: "x"}) == []


def test_no_checkpoints_says_what_there_was(folder):
    for name in ("step_1.pt", "final.pt", "step_2.pt.tmp", ".step_3.pt"):
        (folder / name).unlink()
    with pytest.raises(FileNotFoundError) as caught:
        checkpoints.find(folder)
    assert "it holds" in str(caught.value) and "run_a/weights.pt" in str(caught.value)
    for name in ("run_a", "run_b"):
        (folder / name / "weights.pt").rename(folder / name / f"step_{len(name)}.pt")
    with pytest.raises(FileNotFoundError) as caught:
        checkpoints.find(folder)
    assert f"a glob, such as `{folder}/*/*.pt`" in str(caught.value)
    assert [each.step for each in checkpoints.find(f"{folder}/*/*.pt")] == [5]


@pytest.mark.parametrize("kept", ["best", "model_last", "final"])
def test_a_further_copy_of_a_listed_checkpoint_is_no_warning(tmp_path, caplog, kept):
    for step in (1, 2):
        state = {"a.weight": torch.full((3,), float(step))}
        content = {"model": state, "optimizer": {"m": torch.zeros(5) + step}, "lr": 0.1}
        torch.save(content, tmp_path / f"step_{step}.pt")
    torch.save({"model": state}, tmp_path / f"{kept}.pt")  # of step 2, saved anew and smaller
    assert [each.step for each in checkpoints.find(tmp_path)] == [1, 2]
    assert not caplog.text
    torch.save({"model": {"a.weight": torch.zeros(3)}}, tmp_path / f"{kept}.pt")
    checkpoints.find(tmp_path)
    assert f"{kept}.pt is left out: neither it nor its name states a training step" in caplog.text
    caplog.clear()
    torch.save({**content, "global_step": 2}, tmp_path / f"{kept}.pt")
    assert [each.step for each in checkpoints.find(tmp_path)] == [1, 2]
    assert not caplog.text
    torch.save({"model": {"a.weight": torch.ones(3)}, "global_step": 2}, tmp_path / f"{kept}.pt")
    checkpoints.find(tmp_path)
    assert "step also in" in caplog.text

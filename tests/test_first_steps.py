"""What a new user calls first: init, doctor, schema."""

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from dynamics import doctor, installation
from dynamics.config import json_schema, load_config
from dynamics.config.keys import KEYS, table
from dynamics.proposal import _wrapper_of, propose
from dynamics.sweep import check_names

CONFIGS = Path(__file__).parent.parent / "configs"


@pytest.fixture
def here(command, tmp_path):
    """Run a command in the folder of the test."""
    return partial(command, tmp_path)


def encodecmae_run(folder):
    from tiny_run import save_checkpoint

    folder.mkdir()
    for step in (0, 10, 100):
        save_checkpoint(folder, step, seed=step)
    return folder


def wrapped_run(folder):
    folder.mkdir()
    for step in (0, 10):
        state = {f"student.net.{name}.weight": torch.ones(2, 2) for name in ("front", "block.0")}
        torch.save({"model": state, "step": step}, folder / f"step_{step}.pt")
    return folder


def test_a_list_of_blocks_is_a_part_of_what_wraps_it():
    assert _wrapper_of([f"net.layers.{n}.a.weight" for n in (0, 1)]) == "net."
    assert _wrapper_of(["net.front.weight", "net.layers.0.weight"]) == "net."


def test_init_says_what_all_names_of_a_network_begin_with(tmp_path, here):
    said = here("init", wrapped_run(tmp_path / "lab")).out
    assert "# every name begins with 'student.net.': leave that out of `layers`" in said


def hubert_run(folder):
    from transformers import HubertConfig, HubertModel

    config = HubertConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        conv_dim=(8, 8), conv_kernel=(10, 8), conv_stride=(5, 4), num_feat_extract_layers=2,
        num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    for step in (100, 200):
        HubertModel(config).save_pretrained(folder / f"checkpoint-{step}")
    return folder


@pytest.mark.parametrize(
    ("save", "name", "layers"), [(encodecmae_run, "encodecmae", 2), (hubert_run, "huggingface", 2)]
)
def test_init_finds_the_adapter_that_takes_the_weights(tmp_path, here, save, name, layers):
    folder = save(tmp_path / "my-run")
    said = here("init", folder)
    path = tmp_path / "my-run.yaml"
    assert "go on with `dynamics run my-run.yaml`" in said.out
    sweep = load_config(path)
    check_names(sweep)
    assert sweep.model.name == name and sweep.run == "my-run"
    text = path.read_text()
    assert "TO DO" not in text and "layers)" in text
    assert yaml.safe_load(text)["checkpoints"] == str(folder)
    here("checkpoints", path)
    assert "is there already" in here("init", folder, code=2).err
    here("init", folder, "--force")


def test_init_says_what_is_to_be_done_for_a_network_of_ones_own(tmp_path, here):
    folder = tmp_path / "runs" / "mine" / "checkpoints"
    folder.mkdir(parents=True)
    state = {"front.weight": torch.ones(2, 1, 3), "blocks.0.a.weight": torch.ones(2, 2),
             "blocks.1.a.weight": torch.ones(2, 2)}  # fmt: skip
    for epoch in (0, 1):
        torch.save({"model": state, "ema": dict(state)}, folder / f"epoch_{epoch}.pt")
    (folder / "log.txt").touch()
    said = here("init", folder, "--output", "own.yaml")
    assert "see its TO DO first" in said.out
    text = (tmp_path / "own.yaml").read_text()
    content = yaml.safe_load(text)
    assert content["run"] == "mine"
    assert content["model"]["arguments"]["layers"] == ["front", "blocks.0", "blocks.1"]
    assert "# TO DO: write your own module" in text
    assert "2 checkpoints (torch), epochs 1 to 2, by what stands in their names" in text
    assert "# by their names these are epochs" in text and "left out: 1 .txt (log.txt)" in text
    assert "not those of ema" in text


OWN = """
raise RuntimeError("this file is read, and not run")
class Block(torch.nn.Module):
    def __init__(self):
        self.a = self.b = torch.nn.Linear(2, 2)
class Training(lightning.LightningModule):
    def __init__(self):
        self.net = Network(2)
class Network(torch.nn.Module):
    def __init__(self, width, *, depth, heads=2):
        super().__init__()
        self.front: torch.nn.Module = torch.nn.Conv1d(1, width, 3)
        self.blocks, self.width = torch.nn.ModuleList(Block() for _ in range(depth)), width
"""


def test_init_finds_the_class_that_has_the_modules_of_the_weights(tmp_path, here):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "nets.py").write_text(OWN)
    (tmp_path / "broken.py").write_text("class Network(:")
    names = ("front", *(f"blocks.{n}.{part}" for n in (0, 1) for part in "ab"))
    state = {f"net.{name}.weight": torch.ones(2, 2) for name in names}
    torch.save({"state_dict": state, "global_step": 3}, tmp_path / "step_3.pt")
    said = here("init", "step_3.pt").out
    content = yaml.safe_load((tmp_path / "step_3.yaml").read_text())
    assert content["run"] == "step_3" and "# 1 checkpoint (lightning), steps 3, by" in said
    assert content["model"]["arguments"] == {
        "factory": "src.nets:Network", "layers": ["front", "blocks.0", "blocks.1"],
        "options": {"width": None, "depth": None},
    }  # fmt: skip
    assert "# src.nets:Network has blocks, front, as these weights have" in said
    assert "# TO DO: give width, depth under `options`" in said


def test_init_of_a_folder_without_checkpoints_says_what_there_is(tmp_path, here):
    (tmp_path / "notes.txt").touch()
    assert "it holds 1 .txt (notes.txt)" in here("init", tmp_path, code=2).err


def test_init_of_what_cannot_be_read_is_still_a_sweep_with_a_note(tmp_path):
    (tmp_path / "step_1.pt").write_bytes(b"hello")
    found = propose(tmp_path)
    assert "no checkpoint could be read" in found.notes[0]
    assert yaml.safe_load(found.text())["model"]["name"] == "module"


def test_the_schema_takes_what_the_configs_hold_and_describes_every_key():
    jsonschema = pytest.importorskip("jsonschema", reason="of the test extra")
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert all(each["description"] for each in schema["properties"].values())
    validator = jsonschema.Draft202012Validator(schema)
    paths = sorted(CONFIGS.glob("*.yaml"))
    for path in paths:
        content = yaml.safe_load(path.read_text())
        if "checkpoints" in content:
            assert not list(validator.iter_errors(content)), path
    least = {"run": "a", "checkpoints": "b", "model": "module", "stimuli": "synthetic"}
    assert validator.is_valid(least | {"metrics": "ridge"})
    assert not validator.is_valid(least | {"metric": "ridge"})
    assert not validator.is_valid(least | {"folds": "five"})


def test_the_readme_has_the_table_of_keys_as_it_is_made():
    assert table() in (CONFIGS.parent / "README.md").read_text(encoding="utf-8")
    assert len({key for key, _, _ in KEYS}) == len(KEYS)


def test_the_schema_is_printed(here):
    assert json.loads(here("schema").out) == json_schema()


def test_the_doctor_finds_nothing_bad_here(here):
    found = json.loads(here("doctor", "--json").out)
    assert {each["verdict"] for each in found} <= {"ok", "note"}
    looked = {each["what"]: each for each in found}
    assert {"Python", "packages", "pair", "cores", "GPU", "store", "data sets here"} <= set(looked)
    assert "torch" in looked["pair"]["found"]


def test_the_doctor_says_what_is_bad_and_what_to_do(here, monkeypatch, tmp_path):
    monkeypatch.setenv("DYNAMICS_DATA", str(tmp_path / "gone"))
    versions = installation.version_of
    others = {"torchaudio": "2.10.0", "zarr": "2.18.0", "icechunk": "unknown"}
    monkeypatch.setattr(installation, "version_of", lambda name: others.get(name) or versions(name))
    monkeypatch.setattr(doctor, "_MODULES", ("numpy", "no_such_module"))
    found = {each.what: each for each in doctor.examine()}
    bad = {"no_such_module", "pair", "zarr", "torchaudio", "data"}
    assert {what for what, each in found.items() if each.bad} == bad
    assert "pip install 'zarr" in found["zarr"].cure
    assert "unset it" in found["data"].cure
    assert found["extra icechunk"].verdict == "note"
    said = here("doctor", code=2)
    assert "which is no folder" in said.out


@pytest.mark.skipif(not hasattr(shutil, "disk_usage"), reason="no such call")
def test_the_doctor_sees_a_place_that_cannot_be_written(monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", refuse)
    found = [each for each in doctor.examine() if each.what == "store"]
    assert found[0].bad and "Permission denied" in found[0].cure
    assert np.all([each.found for each in found])

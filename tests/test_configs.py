"""The configs that come with the package: each is valid, and reaches what it names."""

from __future__ import annotations

from pathlib import Path

import local_hub
import numpy as np
import pytest
import s3prl_files
import torch

from dynamics import checkpoints, store
from dynamics.collection.running import check_runs
from dynamics.config import Choice, Sweep, is_collection, load_collection, load_config, validate
from dynamics.extraction import crawl
from dynamics.models import encodecmae
from dynamics.progress import silent
from dynamics.sweep import DEMO, check_names

CONFIGS = Path(__file__).parents[1] / "configs"
SOUNDS = Choice(name="synthetic", arguments={"per_kind": 1, "seconds": 0.4})


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_is_valid_and_names_what_there_is(path):
    if is_collection(path):
        collection = load_collection(path)
        check_runs(collection)
        assert collection.name == path.stem and len(collection.runs) > 1
        return
    sweep = load_config(path)
    check_names(sweep)
    if sweep.run.startswith("my-"):
        assert "targets" in path.read_text(), "an example for a run of one's own"
    else:
        assert sweep.run == path.stem


def test_the_readme_tells_every_key_with_its_default():
    text = (CONFIGS.parent / "README.md").read_text().split("| key | default | |")[1]
    rows = [line.split("|")[1:3] for line in text.split("\n\n")[0].splitlines()[2:]]
    told = {}
    for keys, defaults in rows:
        names = keys.replace("`", "").replace(" ", "").split(",")
        values = defaults.replace("`", "").strip().split(", ") if len(names) > 1 else [defaults]
        told |= dict(zip(names, values, strict=True))
    assert told.keys() == Sweep.model_fields.keys()
    sweep = validate(dict.fromkeys(list(told)[:4], "x"), origin="x")
    for key, value in told.items():
        default = getattr(sweep, key)
        if isinstance(default, (str, int)) and key not in list(told)[:4]:
            assert value.strip(" `") == str(default).lower(), key


def test_the_embedded_demo_is_valid():
    assert validate(DEMO, origin="demo").run == "demo"


def test_the_published_run_of_encodecmae_is_asked_for_and_crawled_as_it_lies(tmp_path):
    """Its config, unchanged but for the sounds and places, on a hub with the same folders."""
    pytest.importorskip("huggingface_hub")
    folder = "full_exps/base_models/mel256-ec-base/pretrain_checkpoints"
    sizes = {"layers": 2, "width": 24, "heads": 12, "feed_forward": 24, "mels": 256}
    files = {}
    for step in (500, 1000):
        state = encodecmae.build(None, **sizes, seed=step).state_dict()
        content = {
            "state_dict": state, "global_step": step, "epoch": 0,
            "pytorch-lightning_version": "2.0",
        }  # fmt: skip
        torch.save(content, tmp_path / "made.ckpt")
        name = f"{folder}/finegrained/epoch=0-step={step}.ckpt"
        files[name] = (tmp_path / "made.ckpt").read_bytes()
    files[f"{folder}/epoch=9-step=90000.ckpt"] = b"of another folder"
    files[f"{folder}/finegrained/notes.txt"] = b"words"

    sweep = load_config(CONFIGS / "encodecmae-finegrained.yaml")
    with local_hub.hub({"main": files}, repository="lpepino/encodecmae-pretrained") as options:
        here = {"storage_options": options, "store": tmp_path / "s.zarr", "stimuli": SOUNDS}
        sweep = sweep.model_copy(update=here)
        found = crawl.discover(sweep)
        assert [(c.step, c.format) for c in found] == [(500, "lightning"), (1000, "lightning")]
        assert crawl.crawl(sweep, advance=silent) == {"done": 3, "failed": 0, "new": 2}
        assert crawl.crawl(sweep, advance=silent)["new"] == 0
    tree = store.open(sweep.store)
    assert tree["activations"]["step"].to_numpy().tolist() == [0, 500, 1000]
    assert tree["controls/activations/layer0/activation"].sizes["control"] == 5
    assert not list((tmp_path / ".s.zarr.fetched").glob("*")), "fetched files are gone"


def test_revisions_of_a_repository_are_crawled_with_their_own_configuration(tmp_path):
    transformers = pytest.importorskip("transformers")
    settings = dict(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=32,
        conv_dim=[16] * 7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4,
    )  # fmt: skip
    files = {"main": {"readme.md": b"words"}}
    for step in (1000, 20, 3000):
        torch.manual_seed(step)
        network = transformers.HubertModel(transformers.HubertConfig(**settings))
        network.save_pretrained(tmp_path / f"made{step}")
        parts = (tmp_path / f"made{step}").iterdir()
        files[f"step{step}"] = {part.name: part.read_bytes() for part in parts}
    sweep = load_config(CONFIGS / "huggingface-revisions.yaml")
    with local_hub.hub(files, repository="my-lab/my-model") as options:
        here = {"storage_options": options, "store": tmp_path / "s.zarr", "stimuli": SOUNDS}
        sweep = sweep.model_copy(update=here)
        assert crawl.crawl(sweep, advance=silent) == {"done": 4, "failed": 0, "new": 3}
    tree = store.open(sweep.store)
    assert tree["activations"]["step"].to_numpy().tolist() == [0, 20, 1000, 3000]
    assert tree["controls/activations/layer1/activation"].sizes["control"] == 3
    layer = tree["activations/layer1"].to_dataset()["activation"]
    assert np.unique(layer.isel(stimulus=0, feature=0)).size == 4


def test_a_run_of_s3prls_own_pretraining_is_crawled(tmp_path):
    for step in (10, 30):
        s3prl_files.save(tmp_path / f"states-{step}.ckpt", "tera_local", step=step, seed=step)
    sweep = load_config(CONFIGS / "s3prl-tera.yaml")
    here = {"checkpoints": str(tmp_path), "store": tmp_path / "s.zarr", "stimuli": SOUNDS}
    sweep = sweep.model_copy(update=here)
    assert [c.format for c in checkpoints.find(tmp_path)] == ["s3prl", "s3prl"]
    assert crawl.crawl(sweep, advance=silent) == {"done": 3, "failed": 0, "new": 2}
    assert store.open(sweep.store)["activations"]["step"].to_numpy().tolist() == [0, 10, 30]

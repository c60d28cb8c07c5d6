"""Configs of real data, run from their files with few sounds, tiny networks and short training.

Only values that make them small are overridden, each of a key that the file has: what they name is
what runs, so that a key or a name that is no more fails here.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import local_hub
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from natsound import load
from test_probes_tasks import make_hear
from test_tuckute_release import archive_in

from dynamics import datasets, store, sweep
from dynamics.config import load_config
from dynamics.models import encodecmae
from dynamics.probes.hear import PRESETS
from dynamics.progress import silent

CONFIGS = Path(__file__).parents[1] / "configs"
TINY = {
    "steps": 2, "checkpoints": 2, "first_checkpoint": 1, "layers": 2, "width": 12, "heads": 2,
    "feed_forward": 16, "mels": 24, "batch_size": 2, "clip_seconds": 0.3, "warmup": 1,
}  # fmt: skip
MODEL = {"name": "encodecmae", "arguments": {"heads": 2, "frames_per_token": 2}}
pytestmark = pytest.mark.slow


@pytest.fixture
def here(tmp_path, monkeypatch, in_this_process, data_root):
    """An empty folder where figures are not drawn, with few of the natural sounds, and short."""
    import soundfile

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweep.running, "plot", lambda sweep, **k: [])
    (tmp_path / "few").mkdir()
    folder = datasets.folder("natsound165-neuron2015") / "stimuli" / "wav"
    for name in load(data_root, "number").names[::3]:
        (path,) = folder.glob(f"{name}.wav")
        wave, rate = soundfile.read(path, frames=8000)
        soundfile.write(tmp_path / "few" / path.name, wave, rate)
    return tmp_path


def reduced(name, here, **changes):
    """The config's file in an empty folder, with other values of keys that it has or may have."""
    content = yaml.safe_load((CONFIGS / name).read_text())
    if "pretrain" in content:
        assert set(TINY) <= set(content["pretrain"])
        content["pretrain"] |= TINY
    assert content["stimuli"] in ("natsound165", "naplib-speech")
    content |= {"resamples": 4, "workers": 1, "report": False, **changes}
    path = here / name
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return load_config(path)


def archive(here, data_root):
    """The archive of both fMRI data sets for the few sounds."""
    known = load(data_root, "number")
    few = SimpleNamespace(names=known.names[::3], R=known.R[::3])
    for number, dataset in enumerate(("NH2015", "B2021")):
        folder = here / "data/tuckute2023/neural" / dataset
        archive_in(folder, few, count=18, seed=number)
        # Every group of voxels has several.
        pd.DataFrame(
            {
                "voxel_id": np.arange(18) + 100,
                "roi_label_general": ["Primary"] * 9 + ["Lateral"] * 9,
            }
        ).to_pickle(folder / "df_roi_meta.pkl")


def finite(tree, path, steps):
    score = tree[path]["score"]
    assert score.sizes["step"] == steps and np.isfinite(score).any(["layer"]).mean() > 0.5, path


def test_pepino_along_training(here, data_root):
    archive(here, data_root)
    for name in ("esc50", "fsd50k", "nsynth-pitch", "speech-commands", "crema-d", "gtzan"):
        make_hear(here / "data/hear" / PRESETS[name], task_name=name)
    folder = "full_exps/base_models/mel256-ec-base/pretrain_checkpoints/finegrained"
    state = encodecmae.build(
        None, layers=1, width=24, heads=12, feed_forward=24, mels=256, seed=0
    ).state_dict()
    torch.save({"state_dict": state, "global_step": 500, "epoch": 0}, here / "made.ckpt")
    files = {f"{folder}/epoch=0-step=500.ckpt": (here / "made.ckpt").read_bytes()}
    with local_hub.hub({"main": files}, repository="lpepino/encodecmae-pretrained") as options:
        made = reduced("pepino2025.yaml", here, stimuli="few", storage_options=options)
        sweep.run(made)
    tree = store.open(made.store)
    for target in ("nh2015", "b2021"):
        for metric in ("ridge-pepino", "rsa-pepino", "rsa-regions"):
            finite(tree, f"results/{target}/{metric}", 2)
    finite(tree, "results/nh2015-components/ridge-pepino", 2)
    assert "rsa-pepino" not in tree["results/nh2015-components"].children
    probed = [name for name in tree["results"].children if "probe" in tree[f"results/{name}"]]
    assert len(probed) == 6 and all(name.startswith("hear-") for name in probed)


def test_tuckute_with_permuted_networks(here, data_root):
    transformers = pytest.importorskip("transformers")
    archive(here, data_root)
    settings = transformers.ASTConfig(
        hidden_size=24, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24,
        max_length=64,
    )  # fmt: skip
    transformers.ASTModel(settings).save_pretrained(here / "made")
    front = transformers.ASTFeatureExtractor(max_length=64)
    front.save_pretrained(here / "made")
    files = {path.name: path.read_bytes() for path in (here / "made").iterdir()}
    repository = "MIT/ast-finetuned-audioset-10-10-0.4593"
    with local_hub.hub({"main": files}, repository=repository) as options:
        made = reduced("tuckute2023.yaml", here, stimuli="few", storage_options=options)
        sweep.run(made)
    tree = store.open(made.store)
    for target in ("nh2015", "b2021", "nh2015-components"):
        results = tree[f"results/{target}/ridge-tuckute"]
        finite(tree, f"results/{target}/ridge-tuckute", 2)
        assert results["permuted_score"].sizes["permuted"] == 3
    finite(tree, "results/b2021/rsa", 2)


@pytest.mark.parametrize("name", ["natsound165.yaml", "natsound165-synthetic.yaml"])
def test_the_reference_network_on_natural_sounds(name, here):
    changes = {
        "stimuli": "few",
        "model": {"name": "encodecmae", "arguments": {"heads": 2, "frames_per_token": 2}},
    }
    if name == "natsound165.yaml":
        size = {"train": 2, "valid": 1, "test": 1, "seconds": 0.3}
        changes["probes"] = [
            {"name": "fsdd-digit", "arguments": {"limit": 20}},
            {"name": "pitch-class", "arguments": size},
            {"name": "sound-category", "arguments": size},
        ]
    made = reduced(name, here, **changes)
    sweep.pretrain(made, advance=silent)
    sweep.run(made)
    tree = store.open(made.store)
    for target in ("nh2015-components", "nh2022-ecog"):
        for metric in ("ridge", "rsa"):
            finite(tree, f"results/{target}/{metric}", 3)


def test_natural_sounds_in_time(here):
    trained = reduced("natsound165.yaml", here, stimuli="few", model=MODEL)
    sweep.pretrain(trained, advance=silent)
    made = reduced("natsound165-time.yaml", here, stimuli="few", model=MODEL)
    assert made.checkpoints == trained.checkpoints, "of the run that its head names"
    sweep.run(made)
    finite(store.open(made.store), "results/nh2022-ecog-time/timeresolved", 3)


SECONDS, ELECTRODES = 12, 2


def short_audiobook(here, data_root):
    """A folder of data whose audiobook is short and heard by few, with a minute to train on."""
    import soundfile

    place, speech = here / "data-sets", Path("pretraining-audio") / "speech"
    (place / "naplib-speech" / "sounds").mkdir(parents=True)
    (place / speech).mkdir(parents=True)
    first = min((data_root / speech).iterdir())
    (place / speech / first.name).symlink_to(first)
    with np.load(data_root / "naplib-speech" / "responses.npz") as file:
        short = {name: file[name][: SECONDS * 100, :ELECTRODES] for name in file.files}
    np.savez(place / "naplib-speech" / "responses.npz", **short)
    for name in short:
        path = Path("naplib-speech") / "sounds" / f"{name}.flac"
        rate = soundfile.info(data_root / path).samplerate
        sound, _ = soundfile.read(data_root / path, frames=SECONDS * rate)
        soundfile.write(place / path, sound, rate)
    return place


def test_the_audiobook_in_time(here, data_root, monkeypatch):
    monkeypatch.setenv("DYNAMICS_DATA", str(short_audiobook(here, data_root)))
    metrics = yaml.safe_load((CONFIGS / "audiobook.yaml").read_text())["metrics"]
    metrics[0]["arguments"] |= {"windows": [[0, 0.1]], "components": 4}
    made = reduced("audiobook.yaml", here, model=MODEL, metrics=metrics, folds=3)
    sweep.pretrain(made, advance=silent)
    sweep.run(made)
    results = store.open(made.store)["results/naplib-speech/encoding"]
    assert results["score"].sizes["step"] == 3 and results.sizes["neuroid"] == ELECTRODES
    for name in ("score", "baseline", "resample_score"):
        assert np.isfinite(results[name]).all(), name

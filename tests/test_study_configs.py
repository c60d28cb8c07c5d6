"""Configs of studies in a reduced form: tiny networks, few sounds, what they name computed."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml
from tiny_run import SIZES, save_checkpoint

from dynamics import brains, datasets, plots, probes, sounds, store, sweep
from dynamics.collection.compare import find
from dynamics.collection.running import run_all
from dynamics.config import Choice, load_collection, load_config
from dynamics.models.mel import log_mel
from dynamics.progress import silent

CONFIGS = Path(__file__).parents[1] / "configs"
SOUNDS = Choice(name="synthetic", arguments={"per_kind": 6, "seconds": 0.4})


@pytest.fixture
def here(tmp_path, monkeypatch, in_this_process):
    """A folder with a tiny run, where figures are not drawn."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweep.running, "plot", lambda sweep, **k: [])
    (tmp_path / "checkpoints").mkdir()
    for step in (0, 10, 100):
        save_checkpoint(tmp_path / "checkpoints", step, seed=step, **SIZES)
    return tmp_path


def reduced(name, here, **changes):
    """A config with the tiny run's network and stimuli."""
    found = load_config(CONFIGS / name)
    model = found.model.model_copy(update={"arguments": {"heads": 2}})
    common = {
        "model": model, "checkpoints": str(here / "checkpoints"), "stimuli": SOUNDS,
        "store": here / "s.zarr", "figures": here / "figures", "report": False, "resamples": 4,
        "workers": 1, "baseline": None,
    }  # fmt: skip
    return found.model_copy(update=common | changes)


def test_acoustics_are_log_mel_spectrograms_over_time():
    stimuli = sounds.load("synthetic", per_kind=1, seconds=0.3)
    found = brains.load("stimuli-acoustics", stimuli=stimuli, mels=24)
    import torch

    wave = np.array(next(iter(stimuli.waveforms(24000))))
    mel = log_mel(torch.from_numpy(wave), mels=24).double().numpy() * 4.82 - 6.12
    np.testing.assert_allclose(found["response"][0], mel.mean(0), rtol=1e-6)


@pytest.mark.slow
def test_layers_are_compared_with_acoustics_labels_and_each_other(here):
    sweep.run(reduced("pasad2021.yaml", here))
    tree = store.open(here / "s.zarr")
    for target in ("acoustics", "categories"):
        for metric in ("pwcca", "cka", "mutual_knn", "rsa"):
            score = tree[f"results/{target}/{metric}"]["score"]
            assert score.sizes["step"] == 3 and np.isfinite(score).all(), (target, metric)
    cka = tree["results/self/cka"]["layer_similarity"]
    np.testing.assert_allclose(cka.isel(layer=0, layer_other=0), 1, atol=1e-6)
    assert {"svcca", "mutual_knn"} <= set(tree["results/self"].children)
    axes = plots.figure_of_targets(tree, "pwcca", ["acoustics", "categories"]).axes
    assert [ax.get_title() for ax in axes[:2]] == ["acoustics", "categories"], "they are no brains"
    assert not axes[0].get_shared_y_axes().joined(*axes[:2])


@pytest.mark.slow
def test_spatial_and_temporal_scores_of_a_target_with_maps(here):
    stimuli = sounds.load(SOUNDS.name, **SOUNDS.arguments)
    rng = np.random.default_rng(0)
    shape = (len(stimuli), 15, 8)
    data = xr.Dataset(
        {"response": (("stimulus", "time", "neuroid"), rng.standard_normal(shape))},
        coords={
            "stimulus": list(stimuli.names), "time": (np.arange(15) + 0.5) / 25,
            "neuroid": np.arange(8), "subject": ("neuroid", list("aabbccdd")),
            "region": ("neuroid", [f"r{i % 4}" for i in range(8)]),
            "distance": ("neuroid", np.arange(8) % 4 * 10.0),
            "myelin": ("neuroid", np.arange(8) % 4 * -1.0),
        },
    )  # fmt: skip
    data.to_netcdf(here / "responses.nc", engine="h5netcdf")
    made = reduced("raugel2025.yaml", here)
    target = made.targets[0].model_copy(update={"name": str(here / "responses.nc")})
    sweep.run(made.model_copy(update={"targets": (target,)}))
    tree = store.open(here / "s.zarr")
    names = [each.name for each in plots.figures_of(tree, "encoding", ["responses"])]
    for other in ("distance", "myelin"):
        assert f"pathway-encoding-responses-{other}" in names, "maps are kept with the results"


@pytest.mark.benchmark
def test_a_collection_of_sizes_and_data_is_trained_run_and_compared(here, data_root):
    content = yaml.safe_load((CONFIGS / "antonello2023.yaml").read_text())
    content["shared"] |= {
        "stimuli": {"name": SOUNDS.name, "arguments": SOUNDS.arguments}, "metrics": ["ridge"],
        "targets": [{"name": "simulated", "arguments": {"neuroids": 6, "subjects": 2}}],
        "resamples": 4, "workers": 1, "baseline": None,
    }  # fmt: skip
    entry = content["runs"][0]
    entry["template"]["pretrain"] |= {
        "steps": 2, "checkpoints": 2, "first_checkpoint": 1, "mels": 32, "batch_size": 2,
        "clip_seconds": 0.3, "threads": 1, "sources": [{"synthetic": True, "sounds": 4}],
    }  # fmt: skip
    entry["template"]["run"] = "{size}-{hours}-{seed}"
    for size in entry["matrix"]["size"]:
        size |= {"width": 8 * size["layers"], "feed_forward": 16}
    path = here / "antonello2023.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    collection = load_collection(path)
    assert len(collection.runs) == 12
    for run in collection.runs:
        sweep.pretrain(run.sweep, advance=silent)
    assert not [each for each in run_all(collection) if each.stage == "stopped"]
    found = find(collection)
    assert {"models", "trends", "contrasts", "differences", "half-times"} <= set(found.tables)
    slope = found.tables["trends"].query("kind == 'log-linear' and parameter == 'slope'")
    assert slope["coordinate"].tolist() == ["parameters"] and slope["runs"].item() == 12
    assert slope["lower"].item() <= slope["estimate"].item() <= slope["upper"].item()
    both = found.tables["contrasts"].query("over == 'both'")
    assert len(both) == 3 and np.isfinite(both["lower"].iloc[-1])


@pytest.mark.slow
def test_four_areas_learn_labels_and_are_scored_by_both_parts(here, data_root, monkeypatch):
    folder = here / "data" / "genres"
    own = datasets.folder("fsdd") / "recordings"
    for digit in ("0", "6"):
        (folder / digit).mkdir(parents=True)
        for path in sorted(own.glob(f"{digit}_*_1*.wav"))[:20]:
            (folder / digit / path.name).write_bytes(path.read_bytes())
    rows = [f"{path.stem},{path.parent.name},{('train', 'valid', 'test')[max(0, i % 5 - 2)]}"
            for i, path in enumerate(sorted(folder.glob("*/*.wav")))]  # fmt: skip
    (folder / "labels.csv").write_text("\n".join(["name,label,split", *rows]))
    content = yaml.safe_load((CONFIGS / "ban2025.yaml").read_text())
    content |= {
        "stimuli": {"name": SOUNDS.name, "arguments": SOUNDS.arguments}, "baseline": None,
        "targets": [{"name": "simulated", "label": "nh2015", "arguments": {"neuroids": 12}}],
        "resamples": 4, "workers": 1, "report": False, "store": "s.zarr",
    }  # fmt: skip
    content["pretrain"] |= {
        "steps": 60, "checkpoints": 3, "width": 16, "mels": 24, "batch_size": 8,
        "clip_seconds": 0.3, "learning_rate": 0.01, "warmup": 5, "threads": 1,
    }  # fmt: skip
    (here / "ban2025.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    made = load_config(here / "ban2025.yaml")
    sweep.pretrain(made, advance=silent)
    sweep.run(made)
    tree = store.open(here / "s.zarr")
    heard = {path.name: path.parent.name for path in folder.glob("*/*.wav")}
    cortical, probe = (
        tree[f"results/{name}"].to_dataset() for name in ("nh2015/ridge", "genres/probe")
    )
    found = probes.brain_like(cortical, probe, heard)
    assert found.sizes["step"] == 3 and found.attrs["layer"] == "T2T3"
    # Listeners who are always right agree as often as the probe is right.
    score = probe["score"].isel(layer=-1)
    np.testing.assert_allclose(found["behavioural"], score.sel(step=found["step"]))
    assert float(found["behavioural"][-1]) > 0.7
    plots.plot_brain_like(found).figure.savefig(here / "brain-like.png", dpi=130)

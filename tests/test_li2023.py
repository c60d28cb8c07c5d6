"""Networks of two languages against a simulated pair of listeners: a planted interaction, and none.

The networks begin alike and hear real speech, one English and one Spanish; electrodes follow what
the last layer of either has and the other lacks (planted), or both alike (none).
"""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml

from dynamics import store, sweep
from dynamics.collection import open_runs
from dynamics.collection.compare import find
from dynamics.collection.running import run_all
from dynamics.config import load_collection
from dynamics.emergence.pathway import spatial
from dynamics.extraction import crawl
from dynamics.progress import silent
from dynamics.sounds.audio import read_audio

CONFIG = Path(__file__).parents[1] / "configs" / "li2023.yaml"
LANGUAGES = ("english", "spanish")
RATE, SECONDS, PER = 25, 2.0, 6


@pytest.fixture
def content(tmp_path, monkeypatch, data_root):
    """The config in a reduced form, in a folder with sentences of three other languages."""
    soundfile = pytest.importorskip("soundfile")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data" / "li2023" / "sentences"
    folder.mkdir(parents=True)
    for language in ("it", "ru", "fr"):
        path = sorted((data_root / "pretraining-audio" / "speech").glob(f"{language}-prompts-*"))[0]
        wave, rate = read_audio(path)
        for number in range(8):
            part = wave[(3 * number + 1) * rate :][: round(SECONDS * rate)]
            soundfile.write(folder / f"{language}-{number}.wav", part, rate)
    content = yaml.safe_load(CONFIG.read_text())
    shared = content["shared"]
    shared["pooling"]["arguments"]["rate"] = RATE
    shared["metrics"][0]["arguments"] |= {"windows": [[0, 0.12], [0, 0.28]], "components": 12}
    shared |= {"resamples": 10, "workers": 1, "folds": 3, "baseline": None}
    template = content["runs"][0]["template"]
    template["model"]["arguments"] |= {"heads": 2}
    template["pretrain"] |= {
        "steps": 80, "checkpoints": 3, "first_checkpoint": 20, "layers": 2, "width": 32,
        "heads": 2, "feed_forward": 64, "mels": 32, "batch_size": 6, "clip_seconds": 1.0,
        "learning_rate": 0.003, "warmup": 10, "threads": 1,
    }  # fmt: skip
    return content


def listeners(last, *, planted, seed=0):
    """Make responses (stimulus, time, neuroid, repetition) of a listener of either language."""
    rng = np.random.default_rng(seed)
    names = last["english"]["stimulus"].to_numpy()
    # A twelfth of a second later, of what an electrode follows.
    arrays = {name: last[name].to_numpy().astype(float) for name in LANGUAGES}
    flat = {name: each.reshape(-1, each.shape[-1]) for name, each in arrays.items()}
    flat = {name: (x - x.mean(0)) / (x.std(0) + 1e-6) for name, x in flat.items()}
    found = []
    projection = rng.standard_normal((flat["english"].shape[1], PER))
    for name, other in (LANGUAGES, LANGUAGES[::-1]):
        own, away = flat[name], flat[other]
        if planted:
            signal = (own - away @ np.linalg.lstsq(away, own, rcond=None)[0]) @ projection
        else:
            signal = (flat["english"] + flat["spanish"]) @ projection
        signal = signal.reshape(*arrays[name].shape[:2], PER)
        signal = np.roll(signal, 2, axis=1) / signal.std()
        noise = rng.standard_normal((*signal.shape, 3))
        found.append(signal[..., None] + noise)
    number = len(LANGUAGES) * PER
    language = np.repeat(LANGUAGES, PER)
    return xr.Dataset(
        {"response": (("stimulus", "time", "neuroid", "repetition"), np.concatenate(found, 2))},
        coords={
            "stimulus": names,
            "time": (np.arange(signal.shape[1]) + 0.5) / RATE,
            "neuroid": np.arange(number),
            "language": ("neuroid", language),
            "subject": ("neuroid", [f"{name} listener" for name in language]),
            "region": ("neuroid", [f"area{i % 3}" for i in range(number)]),
            "order": ("neuroid", [i % 3 + 1.0 for i in range(number)]),
        },
    )


@pytest.mark.benchmark
def test_an_interaction_grows_where_it_is_planted_and_not_where_it_is_not(
    content, tmp_path, in_this_process, monkeypatch
):
    from dynamics import sweep as main_job

    monkeypatch.setattr(main_job.running, "plot", lambda sweep, **k: [])
    path = tmp_path / "li2023.yaml"
    bare = content | {"shared": content["shared"] | {"targets": []}}
    path.write_text(yaml.safe_dump(bare, sort_keys=False))
    for run in load_collection(path).runs:
        sweep.pretrain(run.sweep, advance=silent)
        crawl.crawl(run.sweep, advance=silent)
    last = {}
    for run in load_collection(path).runs:
        tree = store.open(run.place)
        layer = list(tree["activations"].children)[-1]
        last[run.coordinates["language"]] = tree[f"activations/{layer}"]["activation"].isel(step=-1)
    for label, planted in (("planted", True), ("none", False)):
        listeners(last, planted=planted).to_netcdf(tmp_path / f"{label}.nc", engine="h5netcdf")
    targets = [{"name": str(tmp_path / f"{label}.nc"), "label": label} for label in
               ("planted", "none")]  # fmt: skip
    content["shared"]["targets"] = targets
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    collection = load_collection(path)
    done = [each for each in run_all(collection) if each.stage == "stopped"]
    assert not done, done
    found = find(collection)
    table = found.tables["contrasts"].query("over == 'stimuli'").set_index("target")
    assert table["contrast"].unique() == ["(english − spanish) for english − spanish"]
    first, end = (table.loc["planted"].iloc[i] for i in (0, -1))
    # They begin alike, but each is asked in the layer that ends best.
    assert first["lower"] <= 0 <= first["upper"]
    assert end["lower"] > 0, end
    none = table.loc["none"].iloc[-1]
    assert none["lower"] < 0 < none["upper"]
    results = open_runs(collection)[0].tree["results/planted/encoding"].to_dataset()
    assert results.attrs["value"] == "over_ceiling"
    course = spatial(results, "order")
    assert course.sizes["step"] == 3 and course.attrs["regions"] == 3
    names = {picture.name for picture in found.drawings}
    assert "contrast-stimuli-encoding-planted" in names
    keep = next(each for each in found.drawings if each.name == "contrast-stimuli-encoding-planted")
    keep.draw().savefig(tmp_path / "contrast.png", dpi=130)

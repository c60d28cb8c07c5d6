"""The pages work as they stand: their code blocks, each part in an empty folder, offline."""

import re
import shutil

import matplotlib.pyplot as plt
import pytest
import tiny_run
import yaml
from local_hub import hub
from pages import PAGES, followed, loud, parts, ran

import dynamics
from dynamics import sweep

OWN = "A metric, an adapter, sounds and a target, as they stand in an empty folder"
HUB = "EnCodecMAE from the hub"
RUNS = {
    "Hugging Face Trainer": ("first-hour", "trainer"),
    "A torch network of your own": ("first-hour", "own"),
    "Lightning": ("first-hour", "lightning"),
    "s3prl": ("first-hour", "tera"),
    OWN: ("own", "mine"),
}
RECORDINGS = {
    "Recordings of your own": ("recordings.nc", "20 neuroids"),
    "EEG, MEG and ECoG of MNE-Python": ("eeg.yaml", "3 neuroids"),
    "fMRI in NIfTI": ("fmri.yaml", "18 neuroids"),
    "Variables of `.mat` and HDF5": ("matlab.yaml", "7 neuroids"),
}
IN_PYTHON = "In Python"


# A minute or two each: those whose way is that of another are run on request.
ON_REQUEST = {"Lightning", "s3prl"}


def each_run(heading):
    marks = pytest.mark.benchmark if heading in ON_REQUEST else pytest.mark.slow
    return pytest.param(heading, marks=marks)


@pytest.mark.parametrize("heading", [each_run(one) for one in RUNS])
def test_from_checkpoints_to_a_figure(heading, tmp_path):
    page, run = RUNS[heading]
    said = followed(tmp_path, parts(page)[heading])
    done = said["dynamics run sweep.yaml"]
    for name in ("figures/emergence-ridge.png", "report.html"):
        assert (tmp_path / "store" / run / name).stat().st_size > 1000
    assert "failed" not in done.stdout
    assert loud(done) == []  # what a user cannot act on is not said
    if run == "mine":
        assert "power" in said["dynamics metrics level --plugin mine"].stdout
    if run == "own":  # in Python, without `if __name__ == "__main__"`
        ((_, script),) = parts("first-hour")[IN_PYTHON]
        (tmp_path / "script.py").write_text(script)
        shutil.rmtree(tmp_path / "store")
        done = ran(tmp_path, "python script.py")
        assert "half" in done.stdout and (tmp_path / "curves.png").stat().st_size > 1000
        assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) < 10


@pytest.mark.benchmark
def test_from_the_hub_to_a_figure(tmp_path, encodecmae_fixtures):
    """The published run's sweep, on a hub of this machine that holds two small checkpoints."""
    repository = "lpepino/encodecmae-pretrained"
    blocks = parts("first-hour")[HUB]
    place = yaml.safe_load(blocks[0][1])["checkpoints"].removeprefix(f"hf://{repository}/")
    files = {f"{place}/{f.name}": f.read_bytes() for f in encodecmae_fixtures.glob("*.ckpt")}
    with hub({"main": files}, repository=repository) as options:
        content = yaml.safe_load(blocks[0][1]) | {"storage_options": options}
        content["model"]["arguments"]["heads"] = 4  # of the small ones
        text = f"# hub.yaml\n{yaml.safe_dump(content)}"
        said = followed(tmp_path, [("yaml", text), *blocks[1:]], HF_HUB_OFFLINE="0")
    assert (tmp_path / "store/encodecmae/figures/emergence-ridge.png").stat().st_size > 1000
    done = said["dynamics run hub.yaml"]
    assert "failed" not in done.stdout
    assert loud(done) == []


@pytest.mark.slow
@pytest.mark.parametrize("heading", RECORDINGS)
def test_from_recordings_to_a_target(heading, tmp_path):
    (tmp_path / "saved").mkdir()
    said = followed(tmp_path, parts("recordings")[heading])
    source, size = RECORDINGS[heading]
    assert size in said[f"dynamics target {source}"].stdout


@pytest.fixture
def demonstrated(tmp_path, monkeypatch, in_this_process):
    """The store of the demonstration in an empty folder, of a network that is not trained."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    for step in (0, 1, 10, 100):
        tiny_run.save_checkpoint(tmp_path / "checkpoints", step, seed=step, layers=4)
    small = {
        "checkpoints": "checkpoints", "model": {"name": "encodecmae", "arguments": {"heads": 2}},
        "stimuli": {"name": "synthetic", "arguments": {"per_kind": 2, "seconds": 0.4}},
        "metrics": "ridge", "baseline": None, "resamples": 4, "pretrain": None, "report": False,
        "targets": "simulated",
    }  # fmt: skip
    sweep.run(sweep.DEMO | small)


@pytest.mark.slow
def test_what_a_page_asks_of_the_demonstration_has_answers(demonstrated):
    known = {}
    for kind, text in (block for blocks in parts("query").values() for block in blocks):
        assert kind == "python"
        *lines, last = re.split(r"\n(?=\S)", text.strip())
        exec("\n".join(lines), known)
        known[last] = eval(last, known)
    curves, scatter = (value for name, value in known.items() if ".plot" in name)
    assert len(curves) == 3  # of the simulated regions
    assert scatter.get_xlabel().startswith("Probe")
    plt.close("all")


@pytest.mark.benchmark
def test_the_demonstrations_network_passes_the_baseline(tmp_path):
    done = ran(tmp_path, "dynamics demo")
    assert loud(done) == []
    results = dynamics.open(tmp_path / "store/demo.zarr")["results/simulated/ridge"].to_dataset()
    gain = results.dynamics.gain(by="region", above="baseline")
    above = gain.sel(region="fluctuation", layer=["layer1", "layer2", "layer3"])
    assert (above["lower"] > 0).all()


def test_every_part_of_the_hour_is_run():
    names = {*RUNS, *RECORDINGS, HUB, IN_PYTHON, *parts("query")}
    code = {name for page in PAGES for name, blocks in parts(page).items() if blocks}
    assert code <= names | set(parts("own"))

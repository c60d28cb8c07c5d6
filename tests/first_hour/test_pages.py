"""The pages work as they stand: their code blocks, each part in an empty folder, offline."""

import shutil

import pytest
import yaml
from local_hub import hub
from pages import PAGES, followed, loud, parts, ran

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


def test_every_part_of_the_hour_is_run():
    names = {*RUNS, *RECORDINGS, HUB, IN_PYTHON}
    code = {name for page in PAGES for name, blocks in parts(page).items() if blocks}
    shown = {name for page in ("own", "query") for name in parts(page)}
    assert names <= code and code - names <= shown

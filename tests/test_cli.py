import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from report_store import make
from tiny_run import save_checkpoint

from dynamics import cli, models, store
from dynamics.progress import time_of


@pytest.fixture
def good(tmp_path):
    """A sweep of two checkpoints and a folder of sounds with a target of the same names."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for number, step in enumerate((0, 10)):
        save_checkpoint(folder, step, seed=number)
    rng = np.random.default_rng(0)
    (tmp_path / "sounds").mkdir()
    names = [f"sound{i}" for i in range(20)]
    for name in names:
        soundfile.write(tmp_path / "sounds" / f"{name}.wav", 0.1 * rng.standard_normal(8000), 16000)
    np.savez(
        tmp_path / "brain.npz",
        response=rng.standard_normal((20, 4)),
        stimulus=names,
        neuroid=[f"v{i}" for i in range(4)],
    )
    return {
        "run": "tiny",
        "store": str(tmp_path / "out" / "tiny.zarr"),
        "checkpoints": str(folder),
        "model": {"name": "encodecmae", "arguments": {"heads": 2}},
        "stimuli": str(tmp_path / "sounds"),
        "targets": [{"name": str(tmp_path / "brain.npz"), "label": "mine"}],
        "metrics": ["ridge", "rsa"],
        "baseline": None,
        "workers": 1,
        "report": False,
    }


@pytest.fixture
def dynamics(tmp_path, monkeypatch, capsys):
    """Run a command in this process, as the installed program would."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.out, "width", 120)

    def run(content, *command, code=0):
        path = tmp_path / "sweep.yaml"
        path.write_text(yaml.safe_dump(content))
        words = [str(path) if word == "CONFIG" else str(word) for word in command]
        monkeypatch.setattr(sys, "argv", ["dynamics", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        done = capsys.readouterr()
        assert (ended.value.code or 0) == code, done.out + done.err
        assert "Traceback" not in done.err
        return done

    return run


@pytest.mark.slow
def test_run_makes_store_figures_and_table_and_a_second_run_nothing_new(
    tmp_path, good, dynamics, monkeypatch
):
    # The report takes the figures that are drawn for the files.
    drawn_again = "dynamics.report.figures.data_uri"
    monkeypatch.setattr(drawn_again, lambda _: pytest.fail("a figure is drawn twice"))
    done = dynamics(good | {"report": True}, "run", "CONFIG")
    assert "2 steps, 2 of them new" in done.out
    assert "half-time" in done.out
    place, number = re.findall(r"figures: (\S+) \((\d+) files\)", done.out)[0]
    figures = list((tmp_path / place).iterdir())
    assert len(figures) == int(number)
    assert {figure.suffix for figure in figures} == {".png", ".pdf"}
    assert all(figure.stat().st_size > 5000 for figure in figures)
    (page,) = re.findall(r"report: (\S+)", done.out)
    assert Path(page) == tmp_path / "out" / "tiny" / "report.html"
    assert Path(page).read_text().count("data:image/svg") == len(figures) / 2  # PNG and PDF
    assert "Warning" not in done.err
    again = dynamics(good, "run", "CONFIG")
    assert "0 of them new" in again.out and "results: 0 new" in again.out
    tree = store.open(good["store"])
    assert tree["results/mine/ridge"]["score"].shape == (2, 2, 4)
    assert "2 of 2 steps done" in dynamics(good, "status", good["store"]).out
    assert "all sound" in dynamics(good, "verify", good["store"]).out


@pytest.mark.slow
def test_plot_writes_the_formats_that_are_asked_for_and_refuses_others(tmp_path, good, dynamics):
    path = make(tmp_path / "out" / "tiny.zarr", steps=(0, 10), resamples=0)
    target = {"name": good["targets"][0]["name"], "label": "cortex"}
    sweep = good | {"store": str(path), "targets": [target], "metrics": ["rsa"]}
    begins = {"svg": b"<?xml", "pdf": b"%PDF-", "png": b"\x89PNG"}
    names = [f"{kind}-rsa-cortex" for kind in ("heatmap", "best-layer", "order")]
    for kinds in (["svg"], ["pdf", "png"]):
        folder = tmp_path / "-".join(kinds)
        options = [word for kind in kinds for word in ("--format", kind)]
        options += ["--figure", "all"]
        done = dynamics(sweep | {"figures": str(folder)}, "plot", "CONFIG", *options)
        assert f"({4 * len(kinds)} files)" in done.out
        written = sorted(path.name for path in folder.iterdir())
        assert written == sorted(f"{n}.{kind}" for n in ["emergence-rsa", *names] for kind in kinds)
        for path in folder.iterdir():
            assert path.read_bytes().startswith(begins[path.suffix[1:]])
    said = dynamics(sweep, "plot", "CONFIG", "--format", "png", "--format", "gif", code=2).err
    assert said.strip() == "dynamics: there is no format 'gif': use png, svg, pdf"


def test_a_sweep_without_targets_is_crawled_and_analyze_says_what_it_lacks(good, dynamics):
    alone = {key: value for key, value in good.items() if key not in ("targets", "metrics")}
    assert "2 steps, 2 of them new" in dynamics(alone, "run", "CONFIG").out
    said = dynamics(alone, "analyze", "CONFIG", code=2).err
    assert "nothing to be compared with: give it `targets`" in said


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"metrics": ["ridg"]}, ["'ridg'", "rsa"]),
        ({"targets": ["nh2015"]}, ["'nh2015'", "nh2015-voxels"]),
        ({"probes": ["fsdd-digits"]}, ["'fsdd-digits'", "fsdd-speaker"]),
        ({"probes": [{"name": "folder"}]}, ["'folder' needs", "`path`"]),
        ({"model": {"name": "encodecmae", "arguments": {"head": 2}}}, ["'head'", "heads"]),
        ({"model": "module"}, ["'module' needs", "`factory`"]),
    ],
)
def test_a_crawl_is_told_at_once_of_what_there_is_not(good, dynamics, change, words):
    said = dynamics(good | change, "crawl", "CONFIG", code=2).err
    assert all(word in said for word in words), said
    assert not Path(good["store"]).exists()


def test_arguments_that_no_checkpoint_fits_are_corrected_and_the_store_is_made_anew(good, dynamics):
    wrong = good | {"model": {"name": "encodecmae", "arguments": {"heads": 3}}}
    assert "0 steps" in (said := dynamics(wrong, "crawl", "CONFIG", code=3).out), said
    assert "2 steps, 2 of them new" in dynamics(good, "crawl", "CONFIG").out
    said = dynamics(wrong, "crawl", "CONFIG", code=2).err
    assert "choose another `store`" in said
    assert "2 steps, 0 of them new" in dynamics(good, "crawl", "CONFIG").out


def test_a_damaged_step_is_found_and_done_again(tmp_path, good, dynamics):
    dynamics(good, "crawl", "CONFIG")
    before = store.open(good["store"])["activations/layer1"]["activation"].to_numpy()
    chunk = Path(good["store"]) / "activations/layer1/activation/c/1/0/0"
    chunk.write_bytes(chunk.read_bytes()[:-9])
    done = dynamics(good, "verify", good["store"], code=3)
    assert "step 10" in done.out and "redo" in done.out
    dynamics(good, "redo", good["store"], "--step", "10")
    said = dynamics(good, "status", good["store"]).out
    assert "1 of 2 steps done, 0 failed, 1 missing" in said
    assert re.search(r"\d s a step; ready in about \d+ s", said)
    dynamics(good, "crawl", "CONFIG")
    dynamics(good, "verify", good["store"])
    after = store.open(good["store"])["activations/layer1"]["activation"].to_numpy()
    np.testing.assert_array_equal(before, after)


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_failed_checkpoints_end_with_code_3_and_are_named(tmp_path, good, dynamics):
    path = tmp_path / "checkpoints" / "epoch=0-step=10.ckpt"
    torch.save({"state_dict": {"foreign": torch.ones(3)}, "global_step": 10}, path)
    done = dynamics(good, "run", "CONFIG", code=3)
    assert "failed: step 10" in done.out
    assert store.open(good["store"])["results/mine/rsa"]["step"].to_numpy().tolist() == [0]


def test_probes_are_fitted_once_and_a_lost_checkpoint_ends_with_code_3(tmp_path, good, dynamics):
    size = {"train": 2, "valid": 1, "test": 1, "seconds": 0.15, "mix": False}
    content = good | {"probes": [{"name": "pitch-class", "arguments": size}]}
    dynamics(content, "crawl", "CONFIG")
    assert "probes: 2 new, 0 there already" in dynamics(content, "probe", "CONFIG").out
    assert "probes: 0 new, 2 there already" in dynamics(content, "probe", "CONFIG").out
    (tmp_path / "checkpoints" / "epoch=0-step=10.ckpt").unlink()
    content["probes"][0]["label"] = "again"
    done = dynamics(content, "probe", "CONFIG", code=3)
    assert "probes: 1 new, 0 there already, 1 failed" in done.out


def test_checkpoints_are_listed_without_loading(tmp_path, good, dynamics):
    done = dynamics(good, "checkpoints", "CONFIG")
    assert "lightning" in done.out and "ok" in done.out


def test_watch_follows_a_run_until_it_is_stopped_and_goes_on(tmp_path, good, dynamics, monkeypatch):
    folder = tmp_path / "checkpoints"
    waits = []

    def wait(seconds):
        waits.append(seconds)
        if len(waits) % 2 == 0:
            raise KeyboardInterrupt
        save_checkpoint(folder, 100 * len(waits), seed=len(waits))

    monkeypatch.setattr("dynamics.extraction.crawl.time.sleep", wait)
    monkeypatch.setattr("dynamics.checkpoints.growing", lambda *_, **__: False)
    done = dynamics(good, "watch", "CONFIG", "--every", "7", code=130)
    assert "2 new, 2 done, 0 failed" in done.out and "1 new, 3 done, 0 failed" in done.out
    assert done.err.strip().endswith("stopped; the same command goes on from here")
    again = dynamics(good, "watch", "CONFIG", code=130)
    assert "2 new" not in again.out and "1 new, 4 done, 0 failed" in again.out
    assert waits == [7.0, 7.0, 30.0, 30.0]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (170, "170 s"), (200, "3 min"), (7e4, "19 h"), (1e6, "12 days")],
)
def test_times_are_printed_in_units_that_can_be_grasped(seconds, text):
    assert time_of(seconds) == text


def test_models_are_listed(tmp_path, good, dynamics):
    listed = dynamics(good, "models").out
    assert set(models.ADAPTERS) <= set(listed.split())
    assert all(models.summary(name).split()[0] in listed for name in models.ADAPTERS)
    assert "heads (default: 12)" in dynamics(good, "models", "encodecmae").out
    assert "factory (must be given)" in dynamics(good, "models", "module").out


def _empty_folder(content, tmp_path):
    (tmp_path / "empty").mkdir()
    return content | {"checkpoints": str(tmp_path / "empty")}


def _empty_sound(content, tmp_path):
    (tmp_path / "sounds" / "sound3.wav").write_bytes(b"")
    return content


def _not_audio(content, tmp_path):
    (tmp_path / "sounds" / "sound3.wav").write_text("not a sound")
    return content


def _other_names(content, tmp_path):
    np.savez(
        tmp_path / "other.npz",
        response=np.zeros((3, 2)),
        stimulus=["a", "b", "c"],
        neuroid=["v", "w"],
    )
    return content | {"targets": [str(tmp_path / "other.npz")]}


def _unwritable(content, tmp_path):
    (tmp_path / "file").write_text("")
    return content | {"store": str(tmp_path / "file" / "tiny.zarr")}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda c, t: c | {"metrcs": ["rsa"]}, ["sweep.yaml, line", "`metrcs`", "`metrics`"]),
        (lambda c, t: c | {"checkpoints": "/nowhere/at/all"}, ["/nowhere/at/all"]),
        (_empty_folder, ["empty", "checkpoint"]),
        (_other_names, ["other", "sound0"]),
        (_empty_sound, ["sound3.wav", "empty"]),
        (_not_audio, ["sound3.wav", "not readable audio"]),
        (_unwritable, ["file"]),
        (lambda c, t: c | {"model": "encodecmea"}, ["encodecmea", "encodecmae", "huggingface"]),
        (lambda c, t: c | {"metrics": ["rigde"]}, ["rigde", "ridge", "rsa"]),
        (lambda c, t: c | {"targets": ["nh2015"]}, ["nh2015", "nh2015-components", "simulated"]),
        (lambda c, t: c | {"stimuli": "natsound"}, ["natsound", "natsound165", "synthetic"]),
        (lambda c, t: c | {"pooling": "median"}, ["median", "mean"]),
        (lambda c, t: c | {"baseline": "spectro"}, ["spectro", "spectrotemporal"]),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_half_written(
    tmp_path, good, spoil, words, dynamics
):
    done = dynamics(spoil(good, tmp_path), "run", "CONFIG", code=2)
    sentences = done.err.strip().splitlines()
    assert len(sentences) == 1 and sentences[0].startswith("dynamics: "), done.err
    for word in words:
        assert word in sentences[0]
    assert not Path(good["store"]).exists()


def test_the_installed_program_answers_quickly_and_without_noise():
    command = [sys.executable, "-X", "importtime", "-c", "from dynamics.cli import main; main()"]
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0
    for word in ("pretrain", "crawl", "analyze", "plot", "run", "demo"):
        assert word in done.stdout
    assert " torch\n" not in done.stderr  # seconds, which --help need not cost
    assert "Warning" not in done.stderr


SLOW_TO_END = """
import atexit, sys, time
from dynamics.cli import main

def end():
    print("leaving", flush=True)
    time.sleep(1)
    print("left", flush=True)

atexit.register(end)
sys.argv = ["dynamics", "--version"]
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_on_the_way_out_changes_nothing(number):
    with subprocess.Popen(
        [sys.executable, "-c", SLOW_TO_END], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    ) as process:  # fmt: skip
        while "leaving" not in process.stdout.readline():
            pass
        process.send_signal(number)
        out, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and "left" in out and errors == ""

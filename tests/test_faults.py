"""A fault is written into a checkpoint's row only where the checkpoint is to blame."""

import errno
import os
import subprocess
import sys
import types

import numpy as np
import pytest
import soundfile
import torch
from tiny_run import sweep_in, sweep_of

from dynamics import checkpoints, cluster, faults, installation, models, store, submitted
from dynamics.checkpoints import archive
from dynamics.extraction import crawl, runner
from dynamics.progress import silent


def rows(sweep):
    """Errors of all rows; empty where there is no store."""
    try:
        table = store.open(sweep.place)["checkpoints"]
    except FileNotFoundError:
        return []
    return [error for error in table["error"].to_numpy().tolist() if error]


OF_THE_MACHINE = {
    "library": (ModuleNotFoundError("No module named 'fairseq'", name="fairseq"), ImportError),
    "memory": (MemoryError(), MemoryError),
    "gpu memory": (torch.OutOfMemoryError("CUDA out of memory. Tried 2 GiB"), MemoryError),
    "cpu memory": (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9"), MemoryError),
    "gpu": (RuntimeError("CUDA error: an illegal memory access was encountered"), OSError),
    "disk": (OSError(errno.ENOSPC, "No space left on device"), OSError),
    "torch's disk": (RuntimeError("PytorchStreamWriter failed writing file data/0"), OSError),
    "files": (OSError(errno.EMFILE, "Too many open files"), OSError),
    "store away": (ConnectionError("nobody answers"), OSError),
}
OF_THE_CHECKPOINT = [
    ValueError("NaN"), KeyError("a"), RuntimeError("PytorchStreamReader failed"), EOFError(),
    OSError(errno.EIO, "Input/output error"), FileNotFoundError("gone"),
    PermissionError(errno.EACCES, "denied"), TypeError("no"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_THE_MACHINE)
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_fault_of_the_machine_ends_the_crawl_and_no_row_holds_it(
    tmp_path, monkeypatch, name, wrapped
):
    fault, kind = OF_THE_MACHINE[name]

    def fails(self, read):
        if not wrapped:
            raise fault
        try:
            raise fault
        except Exception as error:
            raise ValueError("cannot build it") from error

    sweep = sweep_of(sweep_in(tmp_path, (0, 9)))
    monkeypatch.setattr(runner.Network, "layers", fails)
    with pytest.raises(kind) as caught:
        crawl.crawl(sweep, advance=silent)
    assert len(str(caught.value).splitlines()) == 1
    assert rows(sweep) == []
    monkeypatch.undo()
    assert crawl.crawl(sweep, advance=silent) == {"done": 2, "failed": 0, "new": 2}


@pytest.mark.parametrize("fault", OF_THE_CHECKPOINT, ids=repr)
def test_a_fault_of_a_checkpoint_is_a_row(fault):
    assert faults.row(fault) is fault


def test_a_damaged_file_that_asks_for_more_memory_than_it_has_bytes_is_a_row_and_a_large_one_not():
    asked = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000000000000 bytes"
    fault = RuntimeError(asked)
    assert faults.row(fault, file_bytes=10**6) is fault
    with pytest.raises(MemoryError, match="out of memory"):
        faults.row(fault, file_bytes=4 * 10**12)


def test_a_fault_of_reading_that_is_the_machines_ends_the_crawl(tmp_path, monkeypatch):
    sweep = sweep_of(sweep_in(tmp_path, (0, 9)))

    def full(*_, **__):
        raise MemoryError("no more")

    monkeypatch.setattr(archive, "_mapped", full)
    with pytest.raises(MemoryError, match="batch_size"):
        crawl.crawl(sweep, advance=silent)
    assert rows(sweep) == []


@pytest.mark.slow
def test_a_package_whose_import_fails_in_any_way_is_named_with_its_cure(tmp_path, monkeypatch):
    # As torchaudio does beside a torch that it was not built for.
    package = tmp_path / "torchaudio"
    package.mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    for name in [n for n in sys.modules if n.partition(".")[0] == "torchaudio"]:
        monkeypatch.delitem(sys.modules, name)
    for body in (
        "raise OSError('Could not load this library: libtorchaudio.so')",
        "raise RuntimeError('compiled with different CUDA versions')",
        "import torch; torch.set_audio_backend",
        "raise ValueError('numpy.dtype size changed')",
    ):
        (package / "__init__.py").write_text(body)
        with pytest.raises(ImportError) as caught:
            installation.load("torchaudio")
        text = str(caught.value)
        assert f"torchaudio {installation.version_of('torchaudio')} cannot be loaded" in text
        assert "'torch==" in text and "'torchaudio==" in text, text
        with pytest.raises(ImportError, match="torchaudio"):
            models.check("torchaudio", {})
        try:
            import torchaudio  # noqa: F401
        except Exception as error:
            fault = error
        with pytest.raises(ImportError, match="pip install"):
            faults.row(fault)


def test_a_missing_library_is_named_with_the_extra_that_brings_it():
    missing = ModuleNotFoundError("No module named 'nowhere_to_be'", name="nowhere_to_be")
    text = str(installation.explained(missing))
    assert text == "the package nowhere-to-be is not installed: install it with `pip install " \
        "'nowhere-to-be'`"  # fmt: skip
    assert "training-dynamics[" in installation._cure("s3fs")
    assert "soxr" in installation._cure("soxr") and "[" not in installation._cure("soxr")


@pytest.mark.slow
@pytest.mark.parametrize(
    "module", ["zarr", "torch", "pydantic", "typer", "soundfile", "transformers"]
)
def test_a_command_without_a_library_is_one_sentence(tmp_path, module):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Without:\n"
        "    def find_spec(self, name, path, target=None):\n"
        f"        if name == {module!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name}', name=name)\n"
        "sys.meta_path.insert(0, Without())\n"
    )
    (tmp_path / "checkpoints").mkdir()
    torch.save({"state_dict": {"a.b": torch.ones(1)}}, tmp_path / "checkpoints" / "step=1.ckpt")
    (tmp_path / "sweep.yaml").write_text(
        f"run: x\nstore: {tmp_path}/x.zarr\ncheckpoints: {tmp_path}/checkpoints\n"
        "model: {name: huggingface}\nstimuli: {name: synthetic, arguments: {per_kind: 1}}\n"
    )
    command = [sys.executable, "-c", "from dynamics.cli import main; main()", "crawl"]
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*command, str(tmp_path / "sweep.yaml")], capture_output=True, text=True, timeout=300,
        env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    (said,) = done.stderr.strip().splitlines()
    assert said.startswith("dynamics: ") and module in said and "pip install" in said
    assert not (tmp_path / "x.zarr").exists()


def sounds_in(folder, seconds):
    folder.mkdir()
    for number, length in enumerate(seconds):
        noise = 0.1 * np.random.default_rng(number).standard_normal(int(16000 * length))
        soundfile.write(folder / f"a{number}.wav", noise, 16000)
    return str(folder)


def network_of_convolutions(width=4, norm=False):
    layers = [torch.nn.Conv1d(1, width, 400, stride=160), torch.nn.Conv1d(width, width, 3)]
    return torch.nn.Sequential(*layers)


@pytest.fixture
def convolutional(tmp_path, monkeypatch):
    """A run of a network that needs 720 samples, with a stimulus set yet to be said."""
    module = types.ModuleType("convolutional")
    module.build = network_of_convolutions
    monkeypatch.setitem(sys.modules, "convolutional", module)
    (tmp_path / "checkpoints").mkdir()
    for step in (1, 2, 3):
        torch.manual_seed(step)
        state = network_of_convolutions().state_dict()
        torch.save({"state_dict": state, "global_step": step},
                   tmp_path / "checkpoints" / f"step={step}.ckpt")  # fmt: skip
    arguments = {"factory": "convolutional:build", "layers": ["0", "1"], "sample_rate": 16000}
    arguments["takes"] = "batch channel samples"
    return {
        "run": "x", "store": str(tmp_path / "x.zarr"),
        "checkpoints": str(tmp_path / "checkpoints"), "untrained": 0,
        "model": {"name": "module", "arguments": arguments},
    }  # fmt: skip


@pytest.mark.parametrize("untrained", [0, 1])
def test_a_stimulus_that_is_too_short_is_named_before_any_row(tmp_path, convolutional, untrained):
    content = convolutional | {"stimuli": sounds_in(tmp_path / "s", [0.3, 0.3, 0.01, 0.3])}
    sweep = sweep_of(content, untrained=untrained)
    with pytest.raises(faults.SoundError, match=r"'a2' has 160 samples .* fewer than 720 \(45 ms"):
        crawl.crawl(sweep, advance=silent)
    assert rows(sweep) == []


def test_a_network_that_cannot_run_at_all_is_no_fault_of_the_sounds(
    tmp_path, convolutional, monkeypatch
):
    sweep = sweep_of(convolutional | {"stimuli": sounds_in(tmp_path / "s", [0.3, 0.3])})
    calls = []

    def forward(self, *prepared):
        calls.append(1)
        raise RuntimeError("mat1 and mat2 cannot be multiplied")

    from dynamics.models.module import HookedModel

    monkeypatch.setattr(HookedModel, "forward_prepared", forward)
    monkeypatch.setattr(models, "check", lambda *a, **k: models.check_arguments(*a))
    monkeypatch.setattr("dynamics.models.module.decide_batchable", lambda *_: None)
    monkeypatch.setattr("dynamics.models.module.measure_frame_times",
                        lambda model: dict.fromkeys(model.layers, (0.5, 1.0)))  # fmt: skip
    assert crawl.crawl(sweep, advance=silent) == {"done": 0, "failed": 3, "new": 3}
    assert set(rows(sweep)) == {"mat1 and mat2 cannot be multiplied"}


def test_a_stimulus_that_no_weights_make_finite_is_named_and_broken_weights_are_a_row(
    tmp_path, convolutional, monkeypatch
):
    sweep = sweep_of(convolutional | {"stimuli": sounds_in(tmp_path / "s", [0.3, 0.4, 0.3])})
    from dynamics.models.module import HookedModel

    plain = HookedModel.prepare

    def infinite_front_end(self, waveforms, lengths=None):
        waveforms, lengths = plain(self, waveforms, lengths)
        return waveforms / (lengths != 6400).unsqueeze(1), lengths  # of the sound of 0.4 s

    monkeypatch.setattr(HookedModel, "prepare", infinite_front_end)
    with pytest.raises(faults.SoundError, match=r"'a1' .* not finite"):
        crawl.crawl(sweep, advance=silent)
    assert rows(sweep) == []
    monkeypatch.setattr(HookedModel, "prepare", plain)
    path = tmp_path / "checkpoints" / "step=2.ckpt"
    content = torch.load(path)
    for name in ("0.weight", "1.weight"):
        content["state_dict"][name] *= 1e30
    torch.save(content, path)
    assert crawl.crawl(sweep, advance=silent) == {"done": 2, "failed": 1, "new": 3}
    assert "not finite" in rows(sweep)[0]


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"factory": "nowhere_at_all:build"}, "cannot import the factory"),
        ({"options": {"breadth": 3}}, "breadth"),
        ({"layers": ["nine"]}, "no submodule matches"),
    ],
)
def test_what_no_checkpoint_can_be_blamed_for_ends_the_crawl(
    tmp_path, convolutional, changes, words
):
    content = convolutional | {"stimuli": sounds_in(tmp_path / "s", [0.3])}
    content["model"]["arguments"].update(changes)
    sweep = sweep_of(content)
    with pytest.raises(ValueError, match=words):
        crawl.crawl(sweep, advance=silent)
    assert rows(sweep) == []


def test_options_that_torchaudio_does_not_take_end_the_crawl():
    with pytest.raises(ValueError, match="breadth"):
        models.check("torchaudio", {"name": "wav2vec2_base", "options": {"breadth": 3}})
    with pytest.raises(ValueError, match="no network 'w'"):
        models.check("torchaudio", {"name": "w"})
    models.check("torchaudio", {"name": "wav2vec2_large"})


def test_checkpoints_that_are_all_gone_end_the_crawl_and_a_single_one_waits(tmp_path, monkeypatch):
    content = sweep_in(tmp_path, (0, 9, 10))
    sweep = sweep_of(content)
    found = crawl.discover(sweep)
    folder = tmp_path / "checkpoints"
    folder.rename(tmp_path / "unmounted")
    monkeypatch.setattr(crawl, "_complete", list)
    with pytest.raises(FileNotFoundError, match="is their disk mounted"):
        crawl.crawl(sweep, advance=silent, found=found)
    assert rows(sweep) == []
    (tmp_path / "unmounted").rename(folder)
    (folder / "epoch=0-step=9.ckpt").unlink()
    assert crawl.crawl(sweep, advance=silent, found=found) == {"done": 2, "failed": 0, "new": 3}
    assert any("removed before its turn" in text for text in rows(sweep))


class Storage:
    """A store that gives no file, and lists its folder or not."""

    def __init__(self, listing):
        self.listing = listing

    def invalidate_cache(self):
        pass

    def isfile(self, path):
        raise TimeoutError("no answer")

    def ls(self, path, detail):
        if self.listing is not None:
            raise self.listing
        return []


@pytest.mark.parametrize(
    "listing, blamed", [(None, True), (FileNotFoundError(), True), (TimeoutError(), False)]
)
def test_a_store_that_does_not_even_list_is_to_blame_itself(tmp_path, monkeypatch, listing, blamed):
    from dynamics.checkpoints import transfer

    monkeypatch.setattr(transfer, "open_storage", lambda *_: (Storage(listing), "run/1.ckpt"))
    found = checkpoints.Checkpoint(1, "s3://run/1.ckpt", 10, 0.0, "remote")
    with pytest.raises(ValueError, match="cannot fetch") as caught:
        transfer.download(found, tmp_path)
    if blamed:
        assert faults.row(caught.value) is caught.value
    else:
        with pytest.raises(OSError, match="the same command goes on"):
            faults.row(caught.value)


def test_workers_that_die_are_one_sentence():
    with pytest.raises(OSError, match="lower `workers`"), cluster.cluster(None, workers=1):
        raise submitted.KilledError("died")

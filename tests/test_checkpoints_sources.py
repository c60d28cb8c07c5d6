from __future__ import annotations

import contextlib
import functools
import http.server
import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import local_hub
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dynamics import checkpoints
from dynamics.checkpoints import Checkpoint
from dynamics.checkpoints.revisions import escaped, revisions


def weights(value: float = 0.0) -> dict[str, torch.Tensor]:
    return {"layer.weight": torch.full((3, 2), float(value)), "layer.bias": torch.zeros(3)}


def save(path, step=None, value=0.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    contents = {"state_dict": weights(value)} | ({} if step is None else {"global_step": step})
    torch.save(contents, path)
    return path


def steps(source, **options):
    return [checkpoint.step for checkpoint in checkpoints.find(source, **options)]


def test_a_glob_a_file_and_a_list_are_sources(tmp_path):
    for step in (1, 2, 30):
        save(tmp_path / f"run{step}" / "weights.ckpt", step)
    assert steps(f"{tmp_path}/run*/weights.ckpt") == [1, 2, 30]
    assert steps(f"{tmp_path}/**/*.ckpt") == [1, 2, 30]
    assert steps(tmp_path / "run2" / "weights.ckpt") == [2]
    assert steps(f"file://{tmp_path}/run2/weights.ckpt") == [2]
    assert steps([tmp_path / "run30", f"{tmp_path}/run1/*.ckpt"]) == [1, 30]


def test_steps_that_a_list_states_are_believed_and_a_disagreement_is_noted(tmp_path):
    a, b = save(tmp_path / "a.ckpt", 7), save(tmp_path / "final.pt")
    expected = [(0, str(a)), (500, str(b))]
    for source in (
        {500: b, 0: a},
        [[500, b], (0, a)],
        [{"step": 500, "path": str(b)}, {"step": 0, "uri": str(a)}],
    ):
        found = checkpoints.find(source)
        assert [(c.step, c.uri) for c in found] == expected
        assert found[0].note == "its inside says step 7, the list 0"
        assert found[1].format == "torch"
    with pytest.raises(ValueError, match="not a whole number"):
        checkpoints.find({"ten": a})
    with pytest.raises(ValueError, match="needs a `step` and a `path`"):
        checkpoints.find([{"step": 3}])
    with pytest.raises(FileNotFoundError, match="for step 3"):
        checkpoints.find({3: tmp_path / "absent.pt"})


def test_usual_folders_below_the_named_one_are_looked_into(tmp_path):
    save(tmp_path / "one" / "checkpoints" / "a.ckpt", 3)
    save(tmp_path / "two" / "lightning_logs" / "version_0" / "checkpoints" / "a.ckpt", 4)
    assert steps(tmp_path / "one") == [3]
    assert steps(tmp_path / "two") == [4]


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("epoch=10-step=1000.ckpt", 1000),
        ("epoch=10-step=1000-v1.ckpt", 1000),
        ("states-2000.ckpt", 2000),
        ("checkpoint_3_1500.pt", 1500),
        ("checkpoint-500", 500),
        ("model_step_70.safetensors", 70),
        ("step1000", 1000),
        ("step-000123-loss=0.5.pt", 123),
        ("iter_0001000.pth", 1000),
        ("100k_updates.pt", 100_000),
        ("ckpt.25.pt", 25),
        ("0042.pt", 42),
        ("wav2vec2.pt", None),
        ("model.safetensors", None),
        ("best.pt", None),
    ],
)
def test_steps_in_names(name, step):
    from dynamics.checkpoints.formats import step_from_name

    assert step_from_name(name) == step


@pytest.mark.parametrize(
    "name", ["a b.ckpt", "it's.ckpt", 'say "x".ckpt', "two\nlines.ckpt", "[1].ckpt"]
)
def test_strange_names_are_read(tmp_path, name):
    save(tmp_path / name, 5, value=2.5)
    (found,) = checkpoints.find(tmp_path)
    assert found.step == 5
    assert checkpoints.read(found.uri)["layer.weight"][0, 0] == 2.5
    assert steps(tmp_path / name) == [5]
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ValueError) as caught:
        checkpoints.read(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_links_that_point_in_circles_end(tmp_path):
    save(tmp_path / "step=1.ckpt", 1)
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "step=2.ckpt").symlink_to("step=2.ckpt")
    (tmp_path / "gone.ckpt").symlink_to("nowhere")
    (tmp_path / "last.ckpt").symlink_to("step=1.ckpt")
    (found,) = checkpoints.find(tmp_path)
    assert (found.step, found.uri, found.note) == (1, str(tmp_path / "step=1.ckpt"), "")
    assert steps(f"{tmp_path}/**/*.ckpt") == [1]


@pytest.mark.slow
def test_a_hundred_thousand_other_files_are_passed_over_quickly(tmp_path):
    for number in range(100_000):
        os.close(os.open(tmp_path / f"clip-{number}.wav", os.O_CREAT | os.O_WRONLY))
    save(tmp_path / "step=3.ckpt", 3)
    start = time.perf_counter()
    assert sum(entry.stat().st_size > 0 for entry in os.scandir(tmp_path)) == 1
    looked = time.perf_counter()
    assert steps(tmp_path) == [3]
    assert time.perf_counter() - looked < 5 * (looked - start)  # a listing, not 100,000 openings


def test_files_that_hold_no_weights_are_left_out(tmp_path):
    save(tmp_path / "step=3.ckpt", 3)
    torch.save({"epoch": 4, "step": 9}, tmp_path / "counter_9.pt")
    torch.save({"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": []}, tmp_path / "o9.pt")
    torch.save({"state": {}}, tmp_path / "optimizer.pt")
    assert steps(tmp_path) == [3]


def test_a_file_that_still_grows_is_noticed(tmp_path):
    path = save(tmp_path / "step=3.ckpt", 3)
    whole = path.read_bytes()
    (found,) = checkpoints.find(tmp_path)
    assert not checkpoints.growing(found, wait=0.01)
    path.write_bytes(whole[:-100])
    (found,) = checkpoints.find(tmp_path)
    assert found.format == "unreadable"
    assert checkpoints.growing(found, wait=0.01)
    os.utime(path, (1e9, 1e9))
    assert not checkpoints.growing(found, wait=0.01)
    path.write_bytes(whole)
    assert checkpoints.growing(found, wait=0.01), "it has grown since it was found"


def test_lightnings_own_checkpoints(tmp_path):
    lightning = pytest.importorskip("lightning", reason="needs lightning")

    class Net(lightning.LightningModule):
        def __init__(self, width=3):
            super().__init__()
            self.save_hyperparameters()
            self.layer = torch.nn.Linear(2, width)

        def training_step(self, batch, _):
            return self.layer(batch[0]).sum()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    keep = lightning.pytorch.callbacks.ModelCheckpoint(
        dirpath=tmp_path, every_n_train_steps=2, save_top_k=-1, save_last=True
    )
    trainer = lightning.Trainer(
        max_steps=6, callbacks=[keep], logger=False, enable_progress_bar=False,
        enable_model_summary=False, accelerator="cpu",
    )  # fmt: skip
    data = torch.utils.data.TensorDataset(torch.randn(8, 2))
    net = Net()
    trainer.fit(net, torch.utils.data.DataLoader(data, batch_size=2))
    found = checkpoints.find(tmp_path)
    assert [(c.step, c.format) for c in found] == [(s, "lightning") for s in (2, 4, 6)]
    state = checkpoints.read(found[-1].uri)
    np.testing.assert_array_equal(state["layer.weight"], net.layer.weight.detach())


def test_distributed_checkpoints(tmp_path):
    import torch.distributed.checkpoint as dcp

    for step in (100, 20):
        state = {"model": weights(step), "optimizer": {"m": torch.zeros(4)}, "step": step}
        dcp.save(state, checkpoint_id=str(tmp_path / f"part-{step}"), no_dist=True)
    found = checkpoints.find(tmp_path)
    assert [(c.step, c.format) for c in found] == [
        (20, "torch-distributed"),
        (100, "torch-distributed"),
    ]
    state = checkpoints.read(found[1].uri)
    assert set(state) == set(weights()) and state["layer.weight"][0, 0] == 100
    assert checkpoints.digest(found[0].uri) != checkpoints.digest(found[1].uri)
    (tmp_path / "part-20" / "__0_0.distcp").write_bytes(b"")
    with pytest.raises(ValueError, match="cannot read"):
        checkpoints.read(found[0].uri)


def test_the_index_of_a_distributed_checkpoint_runs_nothing(tmp_path):
    import pickle

    import torch.distributed.checkpoint as dcp

    folder = tmp_path / "step_5"
    dcp.save({"model": weights()}, checkpoint_id=str(folder), no_dist=True)
    target = tmp_path / "created"

    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(target),))

    (folder / ".metadata").write_bytes(pickle.dumps(Evil()))
    assert steps(tmp_path) == [5]
    with pytest.raises(ValueError, match=r"would construct posix\.mkdir"):
        checkpoints.read(folder)
    assert not target.exists()


# In a process of its own: merely looking at the modules that it loads lazily fails afterwards.
SPEECHBRAIN = """
import sys, torch
from speechbrain.utils.checkpoints import Checkpointer
one, two = torch.nn.Linear(2, 3), torch.nn.Linear(3, 2)
keeper = Checkpointer(sys.argv[1], recoverables={"encoder": one, "decoder": two})
for step in (10, 200):
    torch.nn.init.constant_(one.weight, step)
    keeper.save_checkpoint(name=f"step{step}", meta={"optimizer_step": step})
"""


@pytest.mark.slow
def test_speechbrains_own_folders(tmp_path):
    subprocess.run([sys.executable, "-c", SPEECHBRAIN, str(tmp_path)], check=True)
    found = checkpoints.find(tmp_path)
    assert [(c.step, c.format) for c in found] == [(10, "speechbrain"), (200, "speechbrain")]
    state = checkpoints.read(found[0].uri)
    assert set(state) == {"encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias"}
    assert state["encoder.weight"][0, 0] == 10


def test_a_sharded_folder_of_safetensors_is_one_checkpoint(tmp_path):
    folder = tmp_path / "checkpoint-40"
    folder.mkdir()
    parts = {"a.safetensors": {"x": torch.ones(2)}, "b.safetensors": {"y": torch.zeros(3)}}
    for name, part in parts.items():
        save_file(part, folder / name)
    index = {"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": 41}))
    (found,) = checkpoints.find(tmp_path)
    assert (found.step, found.note) == (41, "its name says step 40, its inside 41")
    assert set(checkpoints.read(found.uri)) == {"x", "y"}
    (folder / "b.safetensors").write_bytes((folder / "b.safetensors").read_bytes()[:-1])
    (found,) = checkpoints.find(tmp_path)
    assert (found.step, found.format) == (41, "unreadable") and "cut off" in found.note
    (folder / "b.safetensors").unlink()
    (found,) = checkpoints.find(tmp_path)
    assert found.format == "unreadable" and "no checkpoint at" in found.note


def made(*numbers):
    return [Checkpoint(n, str(n), 0, 0.0, "torch") for n in numbers]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("all", [0, 1, 2, 4, 8, 100, 1000]),
        ("every 3", [0, 4, 1000]),
        ({"every": 4}, [0, 8, 1000]),
        ("2-100", [2, 4, 8, 100]),
        ({"range": [0, 1]}, [0, 1]),
        ([100, 0], [0, 100]),
        ("1,8", [1, 8]),
        ({"steps": [4]}, [4]),
        ("log 1", [0]),
        ("log 100", [0, 1, 2, 4, 8, 100, 1000]),
    ],
)
def test_selection(how, expected):
    chosen = checkpoints.select(made(0, 1, 2, 4, 8, 100, 1000), how)
    assert [checkpoint.step for checkpoint in chosen] == expected


@pytest.mark.parametrize("n", [2, 3, 5, 10, 20])
def test_log_selection_keeps_the_untrained_and_the_last_and_is_even(n):
    chosen = [c.step for c in checkpoints.select(made(*range(0, 1001)), {"log": n})]
    assert len(chosen) == n
    assert chosen[0] == 0 and chosen[-1] == 1000
    if n >= 10:
        ratios = np.diff(np.log(chosen[4:]))
        assert ratios.max() / ratios.min() < 2


@pytest.mark.parametrize("how", ["each 3", {"every": 0}, {"log": "x"}, 5, {"a": 1, "b": 2}, []])
def test_a_selection_that_is_not_understood_says_how_to_write_it(how):
    with pytest.raises(ValueError, match="every 5, log 20"):
        checkpoints.select(made(1, 2), how)


def test_a_selected_step_that_is_not_there_names_the_nearest():
    with pytest.raises(ValueError, match="no checkpoint of step 90: the nearest is 100"):
        checkpoints.select(made(0, 100), [90])
    with pytest.raises(ValueError, match="leaves none of 2"):
        checkpoints.select(made(0, 100), "1-50")


@pytest.fixture
def serve():
    with contextlib.ExitStack() as servers:
        yield lambda handler: servers.enter_context(local_hub.serving(handler))


@pytest.fixture
def hub(tmp_path):
    """A model hub with one repository: a folder of files, and a revision a step."""
    pytest.importorskip("huggingface_hub")
    files = {"main": {}}
    for step in (0, 100):
        path = save(tmp_path / "made" / "x.ckpt", step, value=step)
        files["main"][f"runs/epoch=0-step={step}.ckpt"] = path.read_bytes()
    files["main"]["runs/readme.md"] = b"words"
    for step in (5, 1000, 20):
        save_file(weights(step), tmp_path / "made" / "m.safetensors")
        files[f"step{step}"] = {
            "model.safetensors": (tmp_path / "made" / "m.safetensors").read_bytes(),
            "config.json": b"{}",
        }
    moved = {}  # commits of branches that have moved on
    with local_hub.hub(files, moved=moved) as options:
        yield SimpleNamespace(files=files, options=options, moved=moved)


def test_revisions_of_a_repository_are_checkpoints(hub, tmp_path):
    found = checkpoints.find("hf://lab/run@step*", storage_options=hub.options)
    assert [c.step for c in found] == [5, 20, 1000]
    assert found[0].uri == "hf://lab/run@step5"
    assert found[0].note == "commit step5step5st"
    with checkpoints.fetch(found[1], tmp_path / "disk", storage_options=hub.options) as path:
        assert {part.name for part in path.iterdir()} == {"model.safetensors", "config.json"}
        assert checkpoints.read(path)["layer.weight"][0, 0] == 20


def staged(names, commits=()):
    pytest.importorskip("huggingface_hub")
    return local_hub.hub({"main": {}} | names, commits=commits)


def weights_file(tmp_path, value):
    save_file(weights(value), tmp_path / "m.safetensors")
    return {"model.safetensors": (tmp_path / "m.safetensors").read_bytes(), "config.json": b"{}"}


@pytest.mark.parametrize("pattern", ["stage1/step*", "stage1/*", "*"])
def test_branches_with_slashes_in_their_names_are_checkpoints(tmp_path, pattern):
    names = {f"stage1/step{step}": weights_file(tmp_path, step) for step in (5, 20)}
    with staged(names) as options:
        found = checkpoints.find(f"hf://lab/run@{pattern}", storage_options=options)
        assert [c.step for c in found] == [5, 20]
        for one in found:
            with checkpoints.fetch(one, tmp_path / "disk", storage_options=options) as path:
                assert checkpoints.read(path)["layer.weight"][0, 0] == one.step
        listed = checkpoints.find({7: "hf://lab/run@stage1/step20"}, storage_options=options)
        with checkpoints.fetch(listed[0], tmp_path / "disk", storage_options=options) as path:
            assert checkpoints.read(path)["layer.weight"][0, 0] == 20


def test_two_stages_of_one_step_are_refused_and_two_names_of_one_commit_are_one(tmp_path):
    names = {name: weights_file(tmp_path, 1.0) for name in ("stage1-step5", "stage2-step5")}
    with (
        staged(names) as options,
        pytest.raises(ValueError, match=r"'stage1-step5' and 'stage2-step5'.* both state step 5"),
    ):
        checkpoints.find("hf://lab/run@*step*", storage_options=options)
    with staged(names) as options:
        (found,) = checkpoints.find("hf://lab/run@stage2-*", storage_options=options)
        assert found.uri == "hf://lab/run@stage2-step5"
    with staged(names, commits=dict.fromkeys(names, "c" * 40)) as options:
        assert len(checkpoints.find("hf://lab/run@*step*", storage_options=options)) == 1


def test_a_pattern_of_files_at_one_revision_is_none_of_revisions():
    with staged({"dev": {}, "stage1/step5": {}}) as options:
        for url in ("hf://lab/run@dev/runs/*.ckpt", "hf://lab/run@stage1/step5/*.ckpt"):
            assert revisions(url, options) is None
        escaped_url = escaped("hf://lab/run@stage1/step5/a/b", options)
        assert escaped_url == "hf://lab/run@stage1%2Fstep5/a/b"
        assert escaped("hf://lab/run@dev/a/b", options) == "hf://lab/run@dev/a/b"


def test_a_folder_of_files_of_a_repository_is_a_source(hub, tmp_path):
    found = checkpoints.find("hf://lab/run/runs", storage_options=hub.options)
    assert [c.step for c in found] == [0, 100]
    with checkpoints.fetch(found[1], tmp_path / "disk", storage_options=hub.options) as path:
        assert checkpoints.read(path)["layer.weight"][0, 0] == 100


def test_a_file_on_a_web_server_is_a_source(serve, tmp_path):
    pytest.importorskip("aiohttp", reason="needs aiohttp")
    save(tmp_path / "www" / "step=3.ckpt", value=3)
    large = weights(40) | {"more": torch.zeros(100_000)}
    torch.save({"state_dict": large, "global_step": 41}, tmp_path / "www" / "step=40.ckpt")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    url = serve(functools.partial(Quiet, directory=str(tmp_path / "www")))
    found = checkpoints.find(f"{url}/")
    assert [c.step for c in found] == [3, 40], "this server cannot be looked into"
    assert steps(f"{url}/step=3.ckpt") == [3]
    with checkpoints.fetch(found[1], tmp_path / "disk") as path:
        assert checkpoints.read(path)["layer.weight"][0, 0] == 40


def test_a_broken_transfer_continues_where_it_stopped(tmp_path, monkeypatch):
    import fsspec

    monkeypatch.setattr("dynamics.checkpoints.transfer.CHUNK", 1000)
    store = fsspec.filesystem("memory")
    path = save(tmp_path / "step=3.ckpt", 3)
    body = path.read_bytes() + bytes(range(256)) * 40
    store.pipe_file("/bucket/step=3.ckpt", body)
    reads = []
    original = type(store).open

    class Breaking:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *arguments):
            self.file.close()

        def seek(self, offset):
            reads.append(offset)
            return self.file.seek(offset)

        def read(self, size=-1):
            if self.file.tell() >= 2000 and not reads:
                raise ConnectionResetError("gone")
            return self.file.read(size)

    monkeypatch.setattr(
        type(store), "open", lambda self, *a, **k: Breaking(original(self, *a, **k))
    )
    checkpoint = Checkpoint(3, "memory://bucket/step=3.ckpt", len(body), 0.0, "remote")
    with checkpoints.fetch(checkpoint, tmp_path / "disk", wait=0.01) as local:
        assert local.read_bytes() == body
    assert reads == [2000]


def test_a_new_file_of_a_hub_is_seen_and_a_moved_branch_is_read_as_it_was_listed(hub, tmp_path):
    options = {k: v for k, v in hub.options.items() if k != "skip_instance_cache"}
    found = checkpoints.find("hf://lab/run/runs", storage_options=options)
    assert [c.step for c in found] == [0, 100]
    assert found[1].uri == "hf://lab/run/runs/epoch=0-step=100.ckpt", "the name has no commit"
    # The branch moves on: another file, and another network under an old name.
    hub.files[local_hub.commit("main")] = hub.files["main"]
    late = save(tmp_path / "made" / "late.ckpt", 300, value=300).read_bytes()
    new = {"runs/epoch=0-step=300.ckpt": late, "runs/epoch=0-step=100.ckpt": late}
    hub.files["main"] = hub.files["main"] | new
    hub.moved["main"] = "f" * 40
    with checkpoints.fetch(found[1], tmp_path / "disk", storage_options=options) as path:
        assert checkpoints.read(path)["layer.weight"][0, 0] == 100
    again = checkpoints.find("hf://lab/run/runs", storage_options=options)
    assert {c.version for c in again} == {"f" * 40}
    assert [c.step for c in again] == [0, 300]


def test_layouts_of_deepspeed_and_accelerate(tmp_path):
    state = {"layer.weight": torch.ones(2, 2)}
    optimiser = {"optimizer_state_dict": {"state": {0: {"exp_avg": torch.zeros(3)}}}}
    name, beside = "mp_rank_00_model_states.pt", "zero_pp_rank_0_mp_rank_00_optim_states.pt"
    for step, folder in ((10, "global_step10"), (20, "epoch=0-step=20.ckpt/checkpoint")):
        (tmp_path / "a" / folder).mkdir(parents=True)
        torch.save({"module": state, "global_steps": step}, tmp_path / "a" / folder / name)
        torch.save(optimiser, tmp_path / "a" / folder / beside)
    (tmp_path / "a" / "latest").write_text("global_step10")
    found = checkpoints.find(tmp_path / "a")
    assert [(c.step, c.format) for c in found] == [(10, "deepspeed"), (20, "deepspeed")]
    assert all(
        torch.equal(checkpoints.read(c.uri)["layer.weight"], torch.ones(2, 2)) for c in found
    )
    # Stage 3 leaves a part of each weight in every file.
    (tmp_path / "b" / "global_step10").mkdir(parents=True)
    for rank in (0, 1):
        part = f"zero_pp_rank_{rank}_mp_rank_00_model_states.pt"
        torch.save({"module": state, "global_steps": 10}, tmp_path / "b" / "global_step10" / part)
    (found,) = checkpoints.find(tmp_path / "b")
    assert found.format == "parts" and "zero_to_fp32.py" in found.note
    # What stands beside a network in its folder is no second one.
    folder = tmp_path / "c" / "step_30"
    folder.mkdir(parents=True)
    torch.save(state, folder / "model.pt")
    torch.save({"layer.weight": torch.zeros(2, 2)}, folder / "ema_model.pt")
    torch.save({"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": []},
               folder / "optimizer_state.pt")  # fmt: skip
    (found,) = checkpoints.find(tmp_path / "c")
    assert found.step == 30 and checkpoints.read(found.uri)["layer.weight"].sum() == 4


def test_shards_without_an_index_and_files_of_several_processes_are_no_whole_network(tmp_path):
    shard = tmp_path / "a" / "checkpoint-10" / "model-00001-of-00002.safetensors"
    shard.parent.mkdir(parents=True)
    save_file({"x": torch.zeros(2)}, shard)
    (found,) = checkpoints.find(tmp_path / "a")
    assert (found.step, found.format) == (10, "parts") and "still being written" in found.note
    for rank in (0, 1):
        save(tmp_path / "b" / f"checkpoint_1_500-rank-{rank}.pt", 500)
    (found,) = checkpoints.find(tmp_path / "b")
    assert (found.step, found.format) == (500, "parts") and "2 processes" in found.note

"""Workers that see the store write their own chunks; the store is the same, byte for byte."""

import contextlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from inprocess import Here
from tiny_run import save_checkpoint, sweep_in, sweep_of

from dynamics import store
from dynamics.extraction import crawl, workers
from dynamics.progress import silent
from dynamics.store import direct, nodes
from dynamics.store.chunks import is_chunk

STEPS = (0, 5, 9)
LONG = {"name": "synthetic", "arguments": {"per_kind": 1, "seconds": 0.9}}
KINDS = {
    "means": {},
    "rounded": {"dtype": "float16"},
    "components": {"components": 3},
    "over time": {"pooling": {"name": "time", "arguments": {"rate": 10}}},
    "in windows": {
        "pooling": {"name": "time", "arguments": {"rate": 10}},
        "stimuli": LONG,
        "windows": {"context": 0.4, "stride": 0.2, "lookahead": 0.1},
    },
    "components in windows": {
        "pooling": {"name": "time", "arguments": {"rate": 10}},
        "stimuli": LONG,
        "windows": {"context": 0.4, "stride": 0.2, "lookahead": 0.1},
        "components": 3,
    },
}


class Elsewhere(Here):
    """Workers of which some see another disk; what they hand back is kept account of."""

    where = "somewhere"

    def __init__(self, blind=()):
        super().__init__()
        self.blind, self.back = set(blind), {}

    def submit(self, function, content, checkpoint, *more, called):
        task = super().submit(function, content, checkpoint, *more, called=called)
        once = []

        def result():
            if not once:
                with pytest.MonkeyPatch.context() as patch:
                    if isinstance(checkpoint, tuple) or checkpoint.step in self.blind:
                        patch.setattr(store, "reaches", lambda offer: False)
                    once.append(task.result())
                if not isinstance(checkpoint, tuple):
                    self.back[checkpoint.step] = once[0][1]
            return once[0]

        return type(task)(result=result)


@pytest.fixture
def content(tmp_path):
    return sweep_in(tmp_path, STEPS)


def crawled(content, monkeypatch, client, **changes):
    sweep = sweep_of(content, **changes)
    monkeypatch.setattr(crawl, "cluster", lambda *_, **__: contextlib.nullcontext(client))
    return sweep, crawl.crawl(sweep, scheduler="tcp://somewhere", advance=silent)


def files_of(path):
    """The bytes of every file below `activations`, and every column but how long it took."""
    root = Path(path)
    found = {
        str(each.relative_to(root)): each.read_bytes()
        for each in (root / "activations").rglob("*")
        if each.is_file()
    }
    for name, column in nodes.members(store.open_group(path)["checkpoints"]).items():
        if name != "seconds":
            found[name] = np.asarray(column[:]).tolist()
    return found


_EVERY = [pytest.param(k, marks=[pytest.mark.slow] if k != "means" else []) for k in KINDS]


@pytest.mark.parametrize("kind", _EVERY)
def test_workers_that_write_give_the_same_bytes_as_one_process(
    content, tmp_path, monkeypatch, kind
):
    changes = KINDS[kind]
    client = Elsewhere()
    sweep, counts = crawled(content, monkeypatch, client, store=str(tmp_path / "d.zarr"), **changes)
    assert counts == {"done": 3, "failed": 0, "new": 3}
    assert all(isinstance(found[0], store.Written) for found in client.back.values())
    assert max(sum(found[0].sizes.values()) for found in client.back.values()) > 0
    alone = sweep_of(content, store=str(tmp_path / "alone.zarr"), **changes)
    crawl.crawl(alone, advance=silent)
    assert files_of(sweep.store) == files_of(alone.store)
    assert store.verify(sweep.store) == {}
    assert not list(Path(sweep.store).glob(".writer*"))


@pytest.mark.parametrize("blind", [{0}, {5, 9}])
def test_what_workers_cannot_write_is_sent_and_said_once_with_what_it_costs(
    content, tmp_path, monkeypatch, blind, caplog
):
    client = Elsewhere(blind)
    sweep, _ = crawled(content, monkeypatch, client)
    assert {s for s, found in client.back.items() if isinstance(found[0], dict)} == blind
    alone = sweep_of(content, store=str(tmp_path / "alone.zarr"))
    crawl.crawl(alone, advance=silent)
    assert files_of(sweep.store) == files_of(alone.store)
    said = [r.getMessage() for r in caplog.records if "cannot write to the store" in r.getMessage()]
    # 2 layers x 12 sounds x 16 features in single precision.
    stimuli = store.open(sweep.store)["activations"].sizes["stimulus"]
    assert len(said) == 1 and f"{2 * stimuli * 16 * 4 / 1e3:.1f} kB" in said[0], said


def test_a_store_that_is_not_the_one_of_the_lock_is_not_written_to(content, tmp_path):
    sweep = sweep_of(content)
    crawl.crawl(sweep, advance=silent)
    root = store.open_group(sweep.place, mode="r+")
    with store.offered(root, sweep.place) as offer:
        assert store.reaches(offer)
        elsewhere = offer._replace(place=store.Place(str(tmp_path / "none.zarr")))
        direct._reached.clear()
        assert not store.reaches(elsewhere)
        assert not (tmp_path / "none.zarr").exists()
        # Another process has taken the lock over, and offers it to its own workers.
        with store.offered(root, sweep.place) as other:
            direct._reached.clear()
            assert not store.reaches(offer) and store.reaches(other)
        direct._reached.clear()
        (Path(sweep.store) / ".writer").write_text(offer.token)
        if os.getuid():  # root may write anywhere
            Path(sweep.store).chmod(0o555)
            assert not store.reaches(offer)
            Path(sweep.store).chmod(0o755)
    direct._reached.clear()
    assert not store.reaches(offer)
    with store.offered(root, store.Place("icechunk:///x")) as none:
        assert none is None


class Killed(BaseException):
    """Nothing is done after it."""


class Again(Elsewhere):
    """Hands a task in again that took its worker with it."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def submit(self, function, content, checkpoint, *more, called):
        task = super().submit(function, content, checkpoint, *more, called=called)

        def result():
            try:
                return task.result()
            except Killed:
                seen = store.open(self.path)["activations"]
                assert checkpoint.step not in seen.to_dataset().get("step", np.array([]))
                return task.result()

        return type(task)(result=result)


@pytest.mark.slow
@pytest.mark.parametrize("kind, moments", [("means", (1, 4)), ("in windows", (9,))])
def test_a_worker_killed_at_any_write_leaves_nothing_that_counts(
    content, tmp_path, monkeypatch, kind, moments
):
    changes = KINDS[kind]
    alone = sweep_of(content, store=str(tmp_path / "alone.zarr"), **changes)
    crawl.crawl(alone, advance=silent)
    put, count, deadly = direct.Chunks.set, [0], [0]

    async def dying(self, key, value):
        if is_chunk(key):
            count[0] += 1
            if count[0] == deadly[0]:
                # As LocalStore leaves it that was killed while it wrote.
                path = Path(self.real.root) / f"{key}.{'0' * 32}.partial"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"torn")
                raise Killed
        await put(self, key, value)

    monkeypatch.setattr(direct.Chunks, "set", dying)
    for deadly[0] in moments:
        name = str(tmp_path / f"killed{deadly[0]}.zarr")
        count[0] = 0

        sweep, counts = crawled(content, monkeypatch, Again(name), store=name, **changes)
        assert count[0] >= deadly[0] and counts["done"] == 3
        assert files_of(sweep.store) == files_of(alone.store)
        # The whole command dies with it, and is run again.
        name, count[0] = f"{name}.zarr", 0
        with pytest.raises(Killed):
            crawled(content, monkeypatch, Elsewhere(), store=name, **changes)
        now = store.statuses(store.open_group(name)).values()
        assert store.PENDING in now and set(now) <= {store.DONE, store.PENDING}
        count[0] = 10**6
        crawled(content, monkeypatch, Elsewhere(), store=name, **changes)
        assert files_of(name) == files_of(alone.store)


def test_what_a_worker_says_to_have_written_and_nobody_sees_is_not_committed(content, monkeypatch):
    monkeypatch.setattr(direct, "_SEEN", 0.0)
    whole = direct.write_there

    def lost(offer, step, row, layers, **more):
        written = whole(offer, step, row, layers, **more)
        if step == 5:
            key = next(iter(written.sizes))
            path = Path(offer.place.where) / key
            path.write_bytes(path.read_bytes()[:-7])
        return written

    monkeypatch.setattr(store, "write_there", lost)
    with pytest.raises(OSError, match=r"is not seen by this process .* once that is mended"):
        crawled(content, monkeypatch, Elsewhere())
    statuses = store.statuses(store.open_group(content["store"]))
    assert statuses == {0: "done", 5: "pending", 9: "pending"}


def test_a_network_of_another_architecture_or_values_too_large_are_rows_of_their_own(
    content, tmp_path, monkeypatch
):
    save_checkpoint(tmp_path / "checkpoints", 7, seed=1, width=24)
    path = tmp_path / "checkpoints" / "epoch=0-step=9.ckpt"
    state = torch.load(path)
    for name in state["state_dict"]:
        if "norm" in name:
            state["state_dict"][name] = state["state_dict"][name] * 1e6
    torch.save(state, path)
    kept = {}
    for name, client in (("d", Elsewhere()), ("alone", None)):
        changes = {"store": str(tmp_path / f"{name}.zarr"), "dtype": "float16"}
        if client is None:
            crawl.crawl(sweep_of(content, **changes), advance=silent)
        else:
            crawled(content, monkeypatch, client, **changes)
        kept[name] = files_of(changes["store"])
        failed = store.failures(changes["store"])
        assert 7 in failed, failed
    assert kept["d"] == kept["alone"]


def test_a_full_disk_under_a_worker_ends_the_command_and_blames_no_checkpoint(content, monkeypatch):
    async def full(self, key, value):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(direct.Chunks, "set", full)
    with pytest.raises(OSError, match=r"on the worker .*cannot write store .*no space left"):
        crawled(content, monkeypatch, Elsewhere())
    monkeypatch.undo()
    assert crawl.crawl(sweep_of(content), advance=silent)["done"] == 3


def test_a_store_begun_by_one_process_goes_on_by_workers_in_the_chunks_that_it_has(
    content, tmp_path, monkeypatch
):
    first = sweep_of(content, select=[0])
    crawl.crawl(first, advance=silent)
    # One of before, with other codecs than are chosen now.
    root = store.open_group(first.place, mode="r+")
    for layer in store.layer_names(root):
        old = nodes.array(root, store.activation_of(layer))
        values, group = np.asarray(old[...]), root[old.path.rpartition("/")[0]]
        attrs, dims = dict(old.attrs), old.metadata.dimension_names
        group.create_array(
            "activation", data=values, chunks=old.chunks, overwrite=True, attributes=attrs,
            dimension_names=dims, compressors=[zarr.codecs.ZstdCodec(level=1)], fill_value=np.nan,
        )  # fmt: skip
    sweep, counts = crawled(content, monkeypatch, Elsewhere())
    assert counts == {"done": 3, "failed": 0, "new": 2}
    assert store.verify(sweep.store) == {}
    alone = sweep_of(content, store=str(tmp_path / "alone.zarr"))
    crawl.crawl(alone, advance=silent)
    for step in STEPS:
        one, other = (store.read_activations(s.store, step) for s in (sweep, alone))
        for layer, values in one.items():
            np.testing.assert_array_equal(values, other[layer])


def test_what_runs_on_a_worker_needs_no_store(content):
    sweep = sweep_of(content)
    sha256, (layers, _) = workers.extract_one(sweep.model_dump_json(), crawl.discover(sweep)[0])
    assert sha256 and all(isinstance(values, np.ndarray) for values in layers.values())

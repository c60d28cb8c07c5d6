import os
import shutil
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from tiny_run import save_checkpoint, sweep_in, sweep_of

from dynamics import models, store
from dynamics.extraction import crawl, extract
from dynamics.models import encodecmae
from dynamics.progress import silent


@pytest.fixture
def content(tmp_path):
    return sweep_in(tmp_path, (0, 9, 10, 100))


def arrays(path):
    layers = store.open(path)["activations"]
    return {name: layers[name]["activation"].to_numpy() for name in layers.children}


@pytest.mark.slow
def test_other_versions_are_accepted_only_where_they_give_the_same_numbers(
    content, tmp_path, monkeypatch
):
    sweep = sweep_of(content)
    crawl.crawl(sweep, advance=silent)
    first = store.open_group(sweep.store).attrs["versions"]
    assert first["torch"] == torch.__version__.partition("+")[0]
    assert set(first) == {"training-dynamics", "torch", "soxr"}

    other = first | {"torch": "9.9"}
    monkeypatch.setattr(models, "versions", lambda *_: other)
    assert crawl.crawl(sweep, advance=silent)["new"] == 0
    assert store.open_group(sweep.store).attrs["versions"] == first  # nothing was mixed
    save_checkpoint(tmp_path / "checkpoints", 50, seed=9)
    assert crawl.crawl(sweep, advance=silent)["new"] == 1
    attrs = store.open_group(sweep.store).attrs
    assert (attrs["versions"], attrs["earlier_versions"]) == (other, [first])

    right = extract.extract
    monkeypatch.setattr(models, "versions", lambda *_: first)
    monkeypatch.setattr(
        extract, "extract", lambda *a, **k: {n: v * 1.001 for n, v in right(*a, **k).items()}
    )
    save_checkpoint(tmp_path / "checkpoints", 60, seed=9)
    text = r"step 0, .*torch 9\.9 -> " + first["torch"] + r".*differs in layer layer\d by 0\.001"
    with pytest.raises(ValueError, match=text):
        crawl.crawl(sweep, advance=silent)
    assert 60 not in store.open(sweep.store)["activations"]["step"]


def test_a_revision_of_the_code_with_other_numbers_is_refused(content, monkeypatch):
    crawl.crawl(sweep_of(content), advance=silent)
    monkeypatch.setattr(extract, "REVISION", 2)
    with pytest.raises(ValueError, match=r"revision = '1\.1', this sweep has '2\.1'"):
        crawl.crawl(sweep_of(content), advance=silent)
    monkeypatch.setattr(extract, "REVISION", 1)
    monkeypatch.setattr(encodecmae, "REVISION", 3, raising=False)
    with pytest.raises(ValueError, match=r"revision = '1\.1', this sweep has '1\.3'"):
        crawl.crawl(sweep_of(content), advance=silent)


@pytest.mark.slow
def test_a_changed_checkpoint_of_a_done_step_is_an_error_not_a_stale_hit(content, tmp_path):
    sweep = sweep_of(content)
    crawl.crawl(sweep, advance=silent)
    before = arrays(sweep.store)
    path = tmp_path / "checkpoints" / "epoch=0-step=10.ckpt"
    size = path.stat().st_size
    save_checkpoint(tmp_path / "checkpoints", 10, seed=77, width=32)
    with pytest.raises(
        ValueError, match=r"step 10 in store .* is another network now \(layer layer\d has another"
    ):
        crawl.crawl(sweep, advance=silent)
    save_checkpoint(tmp_path / "checkpoints", 10, seed=78)  # another run's: as long as the first
    assert path.stat().st_size == size
    text = r"another network now \(layer layer\d differs by .*dynamics redo .* --step 10"
    with pytest.raises(ValueError, match=text):
        crawl.crawl(sweep, advance=silent)
    store.redo(sweep.store, [10])
    assert crawl.crawl(sweep, advance=silent) == {"done": 4, "failed": 0, "new": 1}
    after = arrays(sweep.store)
    for layer, values in before.items():
        changed = [not np.array_equal(*both) for both in zip(values, after[layer])]
        assert changed == [False, False, True, False]


@pytest.mark.slow
def test_a_done_step_whose_file_was_moved_or_saved_again_is_not_done_again(
    content, tmp_path, monkeypatch
):
    sweep = sweep_of(content)
    crawl.crawl(sweep, advance=silent)
    path = tmp_path / "checkpoints" / "epoch=0-step=10.ckpt"
    whole = torch.load(path, weights_only=True)
    torch.save(whole | {"optimizer": torch.zeros(99)}, path)  # of the same network
    path.with_name("epoch=0-step=9.ckpt").touch()
    (tmp_path / "checkpoints").rename(tmp_path / "moved")
    moved = sweep_of(content, checkpoints=str(tmp_path / "moved"))
    assert crawl.crawl(moved, advance=silent) == {"done": 4, "failed": 0, "new": 0}
    records = store.records(store.open_group(sweep.store))
    assert {Path(record["uri"]).parent.name for record in records.values()} == {"moved"}
    monkeypatch.setattr(
        "dynamics.extraction.reproducibility.read_ahead", lambda *_: pytest.fail("looked again")
    )
    assert crawl.crawl(moved, advance=silent)["new"] == 0
    # One that cannot be read any more takes nothing away.
    monkeypatch.undo()
    (tmp_path / "moved" / "epoch=0-step=9.ckpt").write_bytes(b"torn")
    os.utime(tmp_path / "moved" / "epoch=0-step=9.ckpt", (1e9, 1e9))
    assert crawl.crawl(moved, advance=silent) == {"done": 4, "failed": 0, "new": 0}


def test_a_failed_checkpoint_is_tried_again_when_its_file_was_written_again(content, tmp_path):
    path = tmp_path / "checkpoints" / "epoch=0-step=10.ckpt"
    whole = path.read_bytes()
    path.write_bytes(bytes(len(whole)))
    os.utime(path, (1e9, 1e9))  # long ago: nobody is still writing it
    sweep = sweep_of(content)
    for new in (4, 0):
        assert crawl.crawl(sweep, advance=silent) == {"done": 3, "failed": 1, "new": new}
    path.write_bytes(whole)
    os.utime(path, (1.1e9, 1.1e9))
    assert crawl.crawl(sweep, advance=silent) == {"done": 4, "failed": 0, "new": 1}


def test_objects_that_are_written_again_or_moved_are_fetched_and_compared(content, tmp_path):
    storage = fsspec.filesystem("memory")
    for path in (tmp_path / "checkpoints").iterdir():
        for folder in ("one", "two"):
            storage.pipe_file(f"/{folder}/{path.name}", path.read_bytes())
    sweep = sweep_of(content, checkpoints="memory://one")
    assert crawl.crawl(sweep, advance=silent)["new"] == 4
    moved = sweep_of(content, checkpoints="memory://two")
    assert crawl.crawl(moved, advance=silent) == {"done": 4, "failed": 0, "new": 0}
    assert "two" in store.open(sweep.store)["checkpoints/uri"].sel(step=9).item()
    save_checkpoint(tmp_path / "checkpoints", 9, seed=99)
    other = (tmp_path / "checkpoints" / "epoch=0-step=9.ckpt").read_bytes()
    storage.pipe_file("/two/epoch=0-step=9.ckpt", other)
    with pytest.raises(ValueError, match=r"step 9 in store .* is another network now"):
        crawl.crawl(moved, advance=silent)
    storage.rm("/one", recursive=True)
    storage.rm("/two", recursive=True)


def test_a_store_of_an_earlier_version_gets_the_column_that_it_lacks(content):
    sweep = sweep_of(content)
    crawl.crawl(sweep, advance=silent)
    shutil.rmtree(sweep.store / "checkpoints" / "modified")
    assert len(store.records(store.open_group(sweep.store))) == 4
    assert crawl.crawl(sweep, advance=silent) == {"done": 4, "failed": 0, "new": 0}
    assert np.isnan(store.open(sweep.store)["checkpoints/modified"]).all()

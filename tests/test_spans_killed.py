"""A crawl of parts of recordings that is killed at random moments gives the same store."""

import itertools
import multiprocessing
import os
import signal

import numpy as np
import pytest
import soundfile
from test_components import undated
from tiny_run import sweep_in, sweep_of
from zarr.storage import LocalStore

from dynamics import store
from dynamics.extraction import crawl
from dynamics.progress import silent

WINDOWS = {"context": 1.0, "stride": 1.0, "lookahead": 0.5}
TIMED = {"name": "time", "arguments": {"rate": 20}}


def crawl_until(content, fatal):
    """Crawl in a process of its own that is killed in the middle of a write; never by 0."""
    original, writes = LocalStore.set, itertools.count(1)

    async def set_or_die(self, key, value):
        if next(writes) == fatal:
            target = self.root / key
            target.parent.mkdir(parents=True, exist_ok=True)
            target.with_suffix(".0.partial").write_bytes(b"ha")
            os.kill(os.getpid(), signal.SIGKILL)
        await original(self, key, value)

    LocalStore.set = set_or_die
    crawl.crawl(sweep_of(content), advance=silent)


@pytest.mark.slow
@pytest.mark.guards(1)
@pytest.mark.parametrize("pooling, components", [("mean", None), (TIMED, 3)])
def test_parts_of_recordings_are_resumed_the_same_whenever_the_crawl_was_killed(
    tmp_path, pooling, components
):
    (tmp_path / "sounds").mkdir()
    rng = np.random.default_rng(0)
    lines = ["file\tonset\tduration\tname"]
    for name, seconds in {"long": 4.3, "short": 1.5}.items():
        wave = 0.1 * rng.standard_normal(int(seconds * 8000))
        soundfile.write(tmp_path / "sounds" / f"{name}.wav", wave, 8000)
        onsets = np.arange(0.1, seconds - 0.4, 0.45)
        lines += [f"{name}.wav\t{onset:.2f}\t0.3\tword" for onset in onsets]
    (tmp_path / "words.tsv").write_text("\n".join(lines))
    stimuli = {
        "name": str(tmp_path / "sounds"),
        "arguments": {"events": str(tmp_path / "words.tsv")},
    }
    content = sweep_in(
        tmp_path,
        range(5, 11),
        stimuli=stimuli,
        targets=[],
        pooling=pooling,
        windows=WINDOWS,
        components=components,
        untrained=2,
    )
    whole = sweep_of(content, store=str(tmp_path / "whole" / "tiny.zarr"))
    original, writes = LocalStore.set, []

    async def counted(self, key, value):
        writes.append(key)
        await original(self, key, value)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(LocalStore, "set", counted)
        crawl.crawl(whole, advance=silent)
    reference = undated(whole.store)
    # A server that has imported everything already starts a child in milliseconds.
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["dynamics.extraction.crawl", "test_spans_killed"])
    seen = [0]
    # Parts of all writes, so that kills fall on steps whatever a store writes.
    parts = rng.uniform([0.6, 0.05, 0.05], [0.8, 0.12, 0.1]) * len(writes)
    for fatal in [*parts.astype(int).tolist(), 0]:
        child = server.Process(target=crawl_until, args=(content, fatal))
        child.start()
        child.join(120)
        if child.is_alive():
            child.kill()
            pytest.fail("a crawl did not end")
        assert child.exitcode == (-signal.SIGKILL if fatal else 0)
        if (tmp_path / "tiny.zarr" / "checkpoints" / "status").exists():
            root = store.open_group(tmp_path / "tiny.zarr")
            seen.append(list(store.statuses(root).values()).count(store.DONE))
    assert len(set(seen)) > 2 and seen == sorted(seen), seen
    assert undated(tmp_path / "tiny.zarr").identical(reference)
    assert store.verify(tmp_path / "tiny.zarr") == {}

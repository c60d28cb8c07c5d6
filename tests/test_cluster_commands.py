"""Commands on a cluster of processes to which everything happens: a sentence, and a second run."""

import signal
import time

import numpy as np
import pytest
import yaml
from processes import command, processes
from tiny_run import sweep_in, sweep_of

from dynamics import store
from dynamics.analysis import analyze
from dynamics.extraction import crawl
from dynamics.progress import silent
from dynamics.store import nodes

# Seven minutes or more, most of them waits for workers that hang: run on request.
pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]
STEPS = list(range(0, 12, 2))


def arrays_of(path):
    """Return every number of a store by its place."""
    root = store.open_group(path)
    found = {}

    def walk(group):
        for name, node in nodes.members(group).items():
            if hasattr(node, "shape"):
                if node.dtype.kind in "fiu" and name not in ("seconds", "modified"):
                    found[node.path] = np.asarray(node[...])
            else:
                walk(node)

    walk(root)
    return found


def assert_same(path, other):
    first, second = arrays_of(path), arrays_of(other)
    assert first.keys() == second.keys() and len(first) > 10
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name], err_msg=name)


@pytest.fixture
def content(tmp_path):
    made = sweep_in(tmp_path, STEPS, resamples=4, metrics=["rsa"], report=False)
    made["stimuli"] = {"name": "synthetic", "arguments": {"per_kind": 3, "seconds": 0.4}}
    made["probes"] = [{"name": "stimuli-category", "arguments": {"mix": False}}]
    made["self_similarity"] = ["cka"]
    return made | {"untrained": 2}


def written(folder, content):
    (folder / "sweep.yaml").write_text(yaml.safe_dump(content))
    return folder / "sweep.yaml"


def ended(process, code):
    said, errors = process.communicate(timeout=600)
    assert process.returncode == code, (process.returncode, said, errors)
    assert "Traceback" not in errors and "distributed" not in errors, errors
    return said + errors


def reference(folder, content):
    """Do the same in this process."""
    from dynamics import probes

    alone = sweep_of(content, store=str(folder / "alone.zarr"))
    crawl.crawl(alone, advance=silent)
    analyze.analyze(alone, advance=silent)
    probes.probe(alone, advance=silent)
    return alone.store


def test_every_fault_of_a_cluster_is_one_sentence_and_the_next_run_finishes(content, tmp_path):
    file = written(tmp_path, content)
    with processes(tmp_path, workers=0) as made:

        def begun(name, *, patience=120):
            options = ("--scheduler", made.address, "--patience", patience)
            process = command(file, name, *options, cwd=tmp_path)
            made.wait_for_command(process)
            return process

        for name in ("crawl", "analyze", "probe"):
            # All die: after the patience the command ends.
            made.start_worker(frozen=True)
            process = begun(name, patience=2)
            made.kill_workers()
            assert "the same command goes on from there" in ended(process, 2)
            # All are replaced while it runs; then it is stopped as a batch system does.
            made.start_worker(frozen=True)
            process = begun(name)
            made.kill_workers()
            made.start_worker(frozen=True)
            made.wait_for_command(process)
            process.send_signal(signal.SIGTERM)
            assert "the same command goes on from here" in ended(process, 143)
            if name == "analyze":
                # Interrupted, and again at once.
                process = begun(name)
                process.send_signal(signal.SIGINT)
                time.sleep(0.02)
                process.send_signal(signal.SIGINT)
                assert "the same command goes on from here" in ended(process, 130)
                # The scheduler dies.
                process = begun(name)
                made.kill(made.scheduler)
                assert "the same command goes on from there" in ended(process, 2)
                made.kill_workers()
                made.start_scheduler()
                made.start_worker(frozen=True)
            # All are replaced, and it ends well.
            process = begun(name)
            made.kill_workers()
            made.start_worker()
            ended(process, 0)
            made.kill_workers()
    assert_same(content["store"], reference(tmp_path, content))

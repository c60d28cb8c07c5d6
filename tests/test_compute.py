"""Where work is done: what `compute` may be, batch systems, workers that lack something."""

import contextlib
import os
import stat
import sys
import types
from typing import ClassVar

import numpy as np
import pytest
from tiny_run import sweep_in, sweep_of

from dynamics import cluster, compute, environment, probes, store
from dynamics.analysis import analyze, jobs
from dynamics.analysis.scoring import check_memory
from dynamics.compute import Compute
from dynamics.config import validate
from dynamics.config.compute import chosen
from dynamics.extraction import crawl, room
from dynamics.progress import silent, size_of
from dynamics.sweep import DEMO
from dynamics.workers import Workers

JOB = {
    "kind": "slurm", "minimum": 1, "maximum": 3, "cores": 8, "processes": 2, "memory": "32GB",
    "walltime": "04:00:00", "options": {"queue": "short", "account": "lab"},
}  # fmt: skip


@pytest.mark.parametrize(
    "given, words",
    [
        ("slrum", "did you mean `slurm`?"),
        (["slurm"], "give `local`, `slurm`"),
        ({"maximum": 3}, "with one of these as `kind`"),
        (JOB | {"maximun": 3}, "it has no `maximun`; did you mean `maximum`?"),
        (JOB | {"maximum": 0}, "`maximum` is 0: give a number, at least 1"),
        (JOB | {"cores": True}, "`cores` is True: give a number"),
        (JOB | {"memory": 32}, "`memory` is 32: give a value such as '8GB'"),
        (JOB | {"options": "queue"}, "`options` is 'queue'"),
        (JOB | {"minimum": 9}, "`maximum` is 3, fewer than `minimum`, 9"),
        (JOB | {"processes": 9}, "`processes` is 9, more than `cores`, 8"),
        (JOB | {"gpus_per_worker": 1}, "would take the same GPU: set `processes` to 1"),
    ],
)
def test_what_compute_cannot_be_is_one_sentence(given, words):
    with pytest.raises(ValueError) as caught:
        validate({**DEMO, "compute": given}, origin="x.yaml")
    assert str(caught.value).startswith("x.yaml: `compute`: ") and words in str(caught.value)


def test_the_command_goes_before_the_sweep_and_shares_its_settings():
    assert chosen("local", None) is None is chosen(JOB, "local")
    assert chosen("tcp://head:8786", None) == Compute("tcp://head:8786")
    assert chosen("head:8786", None).is_address
    assert chosen(JOB, None).maximum == 3 and chosen(JOB, None).is_batch
    assert chosen(JOB, "pbs") == chosen(JOB, None)._replace(kind="pbs")
    assert chosen(JOB | {"gpus_per_worker": 0}, "tcp://head:8786").is_address
    with pytest.raises(ValueError, match=r"`--scheduler slrm`: .*did you mean `slurm`"):
        chosen("local", "slrm")


def test_where_it_runs_is_no_part_of_a_store(tmp_path):
    content = sweep_in(tmp_path, (0,))
    one, other = sweep_of(content), sweep_of(content, compute=JOB)
    from dynamics.analysis.analyze import load

    stimuli = load(one).stimuli
    assert crawl.identify(one, stimuli) == crawl.identify(other, stimuli)
    again = type(other).model_validate_json(other.model_dump_json())  # as it goes to the workers
    assert again.where(None) == other.where(None)


class Asked:
    """Takes what a class of a batch system is given."""

    made: ClassVar[list] = []

    def __init__(self, **given):
        self.given, self.bounds, self.closed = given, None, False
        Asked.made.append(self)
        if "refuse" in given:
            raise RuntimeError("sbatch: error: invalid\naccount")

    def adapt(self, **bounds):
        self.bounds = bounds

    def close(self):
        self.closed = True


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """Stand-ins for the libraries, and programs of the batch systems."""
    for name in ("dask_jobqueue", "dask_kubernetes", "dask_kubernetes.operator"):
        module = types.ModuleType(name)
        module.SLURMCluster = module.PBSCluster = module.KubeCluster = Asked
        monkeypatch.setitem(sys.modules, name, module)
    (tmp_path / "bin").mkdir()
    for name in ("sbatch", "qsub"):
        program(tmp_path / "bin" / name, "exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    Asked.made.clear()


def program(path, *lines):
    path.write_text("\n".join(["#!/bin/bash", *lines, ""]))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.mark.parametrize("kind", compute.BATCH)
def test_a_batch_system_is_asked_for_what_the_sweep_says_and_given_it_back(planted, kind):
    gpu = {"processes": 1, "gpus_per_worker": 2}
    asked = Compute(**{**JOB, "kind": kind, **gpu, "options": {"name": "mine"}})
    with pytest.raises(KeyboardInterrupt), contextlib.ExitStack() as stack:
        made = compute.batch(asked, stack)
        assert made.bounds == {"minimum": 1, "maximum": 3} and not made.closed
        raise KeyboardInterrupt
    assert made.closed and made.given["name"] == "mine"
    told = str(made.given)
    assert "'--resources', 'GPU=2'" in told and "'--nthreads', '1'" in told
    words = {
        "slurm": ("'cores': 8", "'memory': '32GB'", "--gres=gpu:2", "OMP_NUM_THREADS=8"),
        "pbs": ("select=1:ncpus=8:mem=32GB:ngpus=2", "'walltime': '04:00:00'"),
        "kubernetes": ("'nvidia.com/gpu': '2'", "'memory': '32G'", "'OMP_NUM_THREADS': '8'"),
    }[kind]
    for word in words:
        assert word in told, word


def test_workers_times_threads_are_the_cores(monkeypatch):
    threads = compute.BATCH["slurm"].arguments(Compute(**JOB))["job_script_prologue"]
    assert "export OMP_NUM_THREADS=4" in threads
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(16))
    for name in compute._THREADS:
        monkeypatch.delenv(name, raising=False)
    for workers, each in ((0, "1"), (1, "16"), (3, "5"), (4, "4"), (32, "1")):
        assert set(compute._threads(workers).values()) == {each}
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert set(compute._threads(4).values()) == {"2"}


def test_what_keeps_a_batch_system_from_being_asked_is_one_sentence(planted, monkeypatch):
    with contextlib.ExitStack() as stack:
        refused = Compute(**{**JOB, "options": {"refuse": 1}})
        with pytest.raises(OSError, match="no workers of slurm: sbatch: error: invalid account"):
            compute.batch(refused, stack)
        monkeypatch.setenv("PATH", "/nowhere")
        with pytest.raises(OSError, match="by `sbatch`, which is not on this machine"):
            compute.batch(Compute(**JOB), stack)
        monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
        with pytest.raises(ImportError, match=r"pip install 'training-dynamics\[jobqueue\]'"):
            compute.batch(Compute(**JOB), stack)


def test_what_a_worker_lacks_is_said_with_its_host_before_it_works(tmp_path, monkeypatch):
    (tmp_path / "sounds").mkdir()
    places = {"the sounds": str(tmp_path / "sounds"), "the store": str(tmp_path / "later")}
    asked = environment.wanted(places)
    assert dict(asked.places).keys() == {"the sounds"}, "only what is here can be asked for"
    assert environment.lacks(asked) == ""
    assert environment.in_place(asked, sum, [1, 2]) == 3
    monkeypatch.setattr(environment.socket, "gethostname", lambda: "node17")
    (tmp_path / "sounds").rmdir()
    environment._lacks.cache_clear()
    with pytest.raises(OSError, match=r"worker on node17 does not see the sounds \(.*mount it"):
        environment.in_place(asked, sum, [1, 2])
    monkeypatch.setattr(environment, "version_of", lambda name: "0.1+cu130")
    host, lack = environment.told(asked)
    assert (host, lack.partition(" 0.1 ")[0]) == ("node17", "has training-dynamics")
    assert environment.sentence([None, (host, ""), TimeoutError()]) == ""
    said = environment.sentence([(host, lack), None, ModuleNotFoundError("dynamics")])
    assert said.startswith("the worker on node17 has training-dynamics 0.1 where")
    assert said.endswith("(and 1 workers more)")
    assert "cannot load this package" in environment.sentence([ModuleNotFoundError("dynamics")])


def test_networks_wait_for_a_gpu_and_comparisons_do_not():
    class Client:
        def submit(self, begun, topic, told, function, *given, key, **named):
            assert key == told
            return function, named

    client = Client()
    here = Workers(client, "x", 1.0, Compute("tcp://x", gpus_per_worker=1))
    here.check = lambda: None
    from dynamics.analysis.scoring import score_together
    from dynamics.extraction.workers import control_one, extract_one
    from dynamics.probes.run import probe_step

    for function in (extract_one, control_one, probe_step):
        assert here.submit(function)._future == (function, {"resources": {"GPU": 1}})
    assert here.submit(score_together)._future == (score_together, {})


def test_a_checkpoint_or_step_that_no_worker_has_memory_for_is_refused_with_the_numbers(tmp_path):
    content = sweep_in(tmp_path, (0, 9), metrics=["rsa"], resamples=4)
    sweep = sweep_of(content)
    crawl.crawl(sweep, advance=silent)
    root = store.open_group(sweep.store)
    layers = store.read_activations(sweep.store, 9)
    held = sum(each.nbytes for each in layers.values())
    asked = Compute(**(JOB | {"memory": "8kB"}))  # two workers a job
    here = Workers(None, "slurm", asked=asked)
    here._seen = dict
    targets = list(jobs.joined(sweep, *_opened(sweep)).targets.values())
    with pytest.raises(OSError, match=r"a step, of .* and a worker of slurm has 4\.0 kB: give"):
        check_memory(here, root, targets)
    found = crawl.discover(sweep)
    with pytest.raises(OSError, match=rf"step \d, a checkpoint of .*, {size_of(held)}, takes"):
        room.check_memory(here, root, found)
    for limit in ("1GB", "0"):
        here = Workers(None, "slurm", asked=Compute(**(JOB | {"memory": limit})))
        here._seen = dict
        check_memory(here, root, targets)
        room.check_memory(here, root, found)


def _opened(sweep):
    return store.open(sweep.place)["activations"].to_dataset(), analyze.load(sweep)


SBATCH = """
script=$(cat "$1"); id=$$
echo "$script" > {folder}/job-$id.sh
setsid bash {folder}/job-$id.sh > {folder}/job-$id.log 2>&1 &
echo $! > {folder}/job-$id.pid
echo "Submitted batch job $id"
"""
SCANCEL = """
for id in "$@"; do kill -TERM -- -$(cat {folder}/job-$id.pid); echo $id >> {folder}/cancelled; done
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_sweep_on_slurm_is_the_same_and_its_jobs_are_given_back(tmp_path, monkeypatch):
    """dask-jobqueue's own scripts, run by programs that stand in for those of SLURM."""
    pytest.importorskip("dask_jobqueue")
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin" / "sbatch", SBATCH.format(folder=tmp_path))
    program(tmp_path / "bin" / "scancel", SCANCEL.format(folder=tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    content = sweep_in(tmp_path, (5, 9), metrics=["rsa"], resamples=4)
    content["probes"] = [{"name": "stimuli-category", "arguments": {"mix": False}}]
    content["stimuli"] = {"name": "synthetic", "arguments": {"per_kind": 3, "seconds": 0.4}}
    content["compute"] = {
        "kind": "slurm", "maximum": 2, "cores": 1, "memory": "2GB", "gpus_per_worker": 1,
        "wait": 120.0, "options": {"queue": "short", "scheduler_options": {"host": "127.0.0.1"}},
    }  # fmt: skip
    sweep = sweep_of(content)
    with cluster.kept(sweep.where(None)):
        assert crawl.crawl(sweep, advance=silent)["done"] == 2 + 1  # a control
        assert analyze.analyze(sweep, advance=silent)["new"] == 3
        assert probes.probe(sweep, advance=silent)["new"] == 3
        jobs = sorted(tmp_path.glob("job-*.sh"))
    script = jobs[0].read_text()
    assert 1 <= len(jobs) <= 2 and "#SBATCH -p short" in script and "--resources GPU=1" in script
    assert "#SBATCH --gres=gpu:1" in script and "export OMP_NUM_THREADS=1" in script
    assert len((tmp_path / "cancelled").read_text().split()) == len(jobs)
    alone = sweep_of(content, compute="local", store=str(tmp_path / "alone.zarr"))
    crawl.crawl(alone, advance=silent)
    analyze.analyze(alone, advance=silent)
    probes.probe(alone, advance=silent)
    first, second = (store.open(each.store) for each in (sweep, alone))
    for path in ("simulated/rsa", f"stimuli-category/{probes.METRIC}"):
        results, expected = (tree[f"results/{path}"].to_dataset() for tree in (first, second))
        for name in ("score", "baseline"):
            assert np.isfinite(expected[name]).any(), "there is something to compare"
            np.testing.assert_array_equal(results[name].to_numpy(), expected[name].to_numpy())


@pytest.mark.slow
def test_threads_of_one_cluster_are_not_those_of_the_next(monkeypatch):
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)), raising=False)
    for workers in (1, 2):
        with cluster.cluster(None, workers=workers) as client:
            found = client.submit(lambda: [os.environ[name] for name in names]).result()
        assert found == [str(4 // workers)] * 3
        assert not any(name in os.environ for name in names)

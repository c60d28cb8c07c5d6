"""A cluster of processes in which workers and scheduler come, go, freeze and die."""

import signal
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from processes import deadly, processes, slowly, total

from dynamics import cluster, environment, workers
from dynamics.submitted import GoneError, KilledError


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(workers, "ANSWER", 2.0)
    monkeypatch.setattr(workers, "_LOOK", 0.2)
    monkeypatch.setattr(workers, "_SAY", 0.5)


def later(seconds, function):
    thread = threading.Timer(seconds, function)
    thread.start()
    return thread


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_without_workers_or_scheduler_the_wait_ends_with_a_sentence(tmp_path, caplog):
    with processes(tmp_path, workers=0) as made, cluster.cluster(made.address) as here:
        here.patience = 1.5
        started = time.monotonic()
        with pytest.raises(GoneError, match=r"no dask worker at tcp.* for 2 s: start workers"):
            here.submit(slowly, 1).result()
        assert time.monotonic() - started < 6
        assert "waiting (" in caplog.text
        # What is done stays with a worker that hangs, or goes, before it is fetched.
        for end, words in ((signal.SIGSTOP, "not been heard of"), (signal.SIGKILL, "no dask work")):
            made.start_worker()
            task = here.submit(slowly, end)
            while not task._future.done():
                time.sleep(0.01)
            made.kill(made.workers[0], end)
            with pytest.raises(GoneError, match=words):
                task.result()
            made.kill_workers()
        assert "gather" not in caplog.text
        made.kill(made.scheduler)
        here.patience = 30
        with pytest.raises(GoneError, match=r"scheduler of tcp.* has gone: start it again"):
            here.submit(slowly, 4).result()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_workers_held_and_did_is_done_by_those_that_come_after_them(tmp_path):
    with (
        processes(tmp_path, workers=0) as made,
        cluster.cluster(made.address, patience=60) as here,
    ):
        # They come while one waits.
        task = here.submit(slowly, 2)
        made.start_worker()
        assert task.result() == 2
        # All are replaced, and with them what they held.
        held = here.scatter(np.arange(5.0))
        assert here.submit(total, [held]).result() == 10
        made.kill_workers()
        made.start_worker()
        assert here.submit(total, [held]).result() == 10
        task = here.submit(total, [held], 2)
        timer = later(0.5, lambda: (made.kill_workers(), made.start_worker()))
        assert task.result() == 10
        timer.join(60)
        # One that is frozen has not gone.
        made.workers[0].send_signal(signal.SIGSTOP)
        task = here.submit(slowly, 3)
        later(2, lambda: made.workers[0].send_signal(signal.SIGCONT))
        assert task.result() == 3


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_task_that_kills_three_workers_is_named_and_an_innocent_one_is_not(tmp_path):
    with cluster.cluster(None, workers=1, patience=60) as here:
        beside = [here.submit(slowly, n) for n in range(3)]
        assert here.submit(deadly, tmp_path / "once", 1).result() == 1
        beside += [here.submit(slowly, n) for n in range(3)]
        with pytest.raises(KilledError, match=r"^3 workers .* more than the [\d.]+ GB of a worker"):
            here.submit(deadly, tmp_path / "often", 99).result()
        assert (tmp_path / "often").read_text() == "3"
        assert here.gather(beside) == [0, 1, 2] * 2


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_three_workers_are_three_also_where_dask_would_have_more_of_them_die(tmp_path):
    with processes(tmp_path, workers=4) as made:
        made.wait_for("workers", 4)
        with cluster.cluster(made.address) as here:
            often = here.submit(deadly, tmp_path / "often", 99)
            # More than there are workers: some wait behind it, and are not to blame.
            beside = [here.submit(slowly, n, 0.1) for n in range(20)]
            with pytest.raises(KilledError, match=r"^3 workers of tcp\S+ died over one task"):
                often.result()
            assert (tmp_path / "often").read_text() == "3"
            assert here.gather(beside) == [*range(20)]
            assert here.ncores() == dict.fromkeys(here.ncores(), 1) and len(here.ncores()) == 1


def test_where_a_cluster_can_be_watched_is_said_where_dask_has_pages_for_it(monkeypatch):
    client = SimpleNamespace(dashboard_link="http://127.0.0.1:8787/status")
    for spec, said in ((None, ""), (object(), "http://127.0.0.1:8787/status")):
        monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda name: spec)  # noqa: B023
        assert cluster._dashboard(client) == said
    assert cluster._dashboard(SimpleNamespace(dashboard_link=None)) == ""


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_worker_that_lacks_something_is_named_before_it_works(tmp_path, monkeypatch):
    with processes(tmp_path, memory="3GB") as made:
        made.wait_for("workers", 1)
        with cluster.cluster(made.address, places={"the store": str(tmp_path)}) as here:
            assert here.submit(slowly, 3, called="wait step 3").result() == 3
            here.must_hold(2.9e9, "a step", "take less")
            with pytest.raises(OSError, match=r"a step takes 3\.1 GB .* tcp\S+ has 3\.0 GB: give"):
                here.must_hold(3.1e9, "a step", "take less")
            (tasks,) = (
                here.client.run_on_scheduler(
                    lambda dask_scheduler: {
                        each.name for each in dask_scheduler.task_prefixes.values()
                    }
                ),
            )
            assert "wait-step" in tasks
            # One that comes later, where the store is not.
            here._wanted = here._wanted._replace(places=(("the store", str(tmp_path / "none")),))
            with pytest.raises(OSError, match=r"the worker on .* does not see the store"):
                here.submit(slowly, 3).result()
        monkeypatch.setattr(environment, "version_of", lambda name: "0.0.1")
        with (
            pytest.raises(OSError, match=r"the worker on .* has training-dynamics .* has 0\.0\.1"),
            cluster.cluster(made.address),
        ):
            pass


@pytest.mark.benchmark
@pytest.mark.timeout(200)
def test_a_worker_that_hangs_while_it_is_given_something_is_waited_for_with_patience(tmp_path):
    with processes(tmp_path) as made:
        made.wait_for("workers", 1)
        with cluster.cluster(made.address, patience=4) as here:
            made.workers[0].send_signal(signal.SIGSTOP)
            started = time.monotonic()
            with pytest.raises(GoneError, match="have not been heard of for 4 s"):
                here.scatter(np.zeros(10**6)).future()
            assert time.monotonic() - started < 30  # not the 300 s after which dask gives it up
            # Beside another that works, that one is given it.
            made.start_worker()
            made.wait_for("workers", 2)
            started = time.monotonic()
            for _ in range(2):
                here.scatter(np.ones(10**6)).future()
            assert time.monotonic() - started < 60

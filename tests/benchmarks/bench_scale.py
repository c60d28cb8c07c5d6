"""How costs grow: with checkpoints, workers, stimuli, neuroids and steps; a table of one run.

    python tests/benchmarks/bench_scale.py --small          # minutes, sizes that say little
    python tests/benchmarks/bench_scale.py                  # a quiet machine of 2 cores, 3 hours
    python tests/benchmarks/bench_scale.py rsa-10000 task   # rows by name

Every row is a process of its own, as the peak of a process' memory never falls. `ridge`, `rsa`,
`cka`, `procrustes` and `mutual_knn` take a number of stimuli after a hyphen, `ridge-10000-wide` has
features enough for Gram matrices. Ratios of workers ask for cores that do nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import bench_crawl
import numpy as np
from goals import goal, peak_memory, seconds

import dynamics
from dynamics import analysis, plots, report, store
from dynamics.brains.targets import Target
from dynamics.cluster import cluster
from dynamics.extraction import crawl
from dynamics.lookahead import in_window
from dynamics.metrics.subsets import half_rows
from dynamics.progress import silent

HERE = str(Path(__file__).resolve().parent)
METRICS = ("ridge", "rsa", "cka", "procrustes", "mutual_knn")
SIZES = (165, 1000, 10_000)


def checkpoints(small: bool) -> None:
    """Cost a checkpoint at 1,000 over 50, of the smallest network."""
    few, many = (5, 30) if small else (50, 1000)
    with tempfile.TemporaryDirectory() as place:
        root, spent = Path(place), {}
        for count in (few, many):
            bench_crawl.save(root / str(count), count, bench_crawl.TINY)
        for count in (few, many, few):
            sweep = bench_crawl.sweep_of(
                root, root / str(count), bench_crawl.TINY, {"per_kind": 1, "seconds": 0.5}
            )
            spent.setdefault(count, []).extend(bench_crawl.costs(sweep)[-200:])
    cost = {count: statistics.median(each) for count, each in spent.items()}
    print(f"{1e3 * cost[few]:.1f} ms a checkpoint of {few}, {1e3 * cost[many]:.1f} of {many:,}")
    goal(f"cost a checkpoint at {many:,} over {few}", cost[many] / cost[few], most=1.05)


def busy(length: float) -> None:
    """Compute for so many seconds of wall time."""
    end = time.perf_counter() + length
    while time.perf_counter() < end:
        np.sort(np.arange(10_000)[::-1])


def products(_: int) -> None:
    """Do a fixed amount of work, a second or so."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        np.linalg.eigh(np.cov(rng.standard_normal((400, 800))))


def _through(client, function: Callable, tasks: Sequence[float]) -> float:
    start = time.perf_counter()
    for _, future in in_window(lambda each: client.submit(function, each), tasks, 8):
        future.result()
    return time.perf_counter() - start


def workers(small: bool) -> None:
    """Two workers over one, each of one thread, on tasks of a fixed amount of work.

    In turn, and of each the fastest: what else runs meets both.
    """
    from dask.distributed import LocalCluster

    count, repeats, taken = (8, 3, {1: [], 2: []}) if small else (40, 3, {1: [], 2: []})
    with contextlib.ExitStack() as stack:
        clients = {}
        for number in taken:
            made = LocalCluster(n_workers=number, threads_per_worker=1, dashboard_address=None)
            clients[number] = stack.enter_context(stack.enter_context(made).get_client())
            _through(clients[number], products, range(2 * number))
        for turn in range(1, repeats + 1):  # of numbers of their own: equal tasks are one to dask
            for number, client in clients.items():
                tasks = range(turn * count, (turn + 1) * count)
                taken[number].append(_through(client, products, tasks))
    one, two = (min(taken[number]) for number in (1, 2))
    print(f"{count} tasks: {one:.1f} s with one worker, {two:.1f} s with two; "
          f"load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")  # fmt: skip
    goal("two workers over one", one / two, least=1.8)


def engine(small: bool) -> None:
    """Overhead of the engine on tasks of a second."""
    count = 6 if small else 60
    with cluster(None, workers=2) as client:
        _through(client, busy, [0.01] * 4)
        taken = _through(client, busy, [1.0] * count)
    goal("overhead of the engine for tasks of 1 s", taken / (count / 2) - 1, most=0.05)


def writers(small: bool) -> None:
    """Workers that write activations over one process that writes all; two workers."""
    from dask.distributed import LocalCluster

    count, taken = (8 if small else 60), {}
    sounds = {"per_kind": 2 if small else 100, "seconds": 0.5}
    with (
        tempfile.TemporaryDirectory() as place,
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as local,
    ):
        root = Path(place)
        bench_crawl.save(root / "checkpoints", count, bench_crawl.TINY | {"width": 256})
        for name, way in (("workers", store.offered), ("one", _none_offered)):
            crawl.store.offered = way
            sweep = bench_crawl.sweep_of(root, root / "checkpoints", bench_crawl.TINY, sounds)
            sweep = sweep.model_copy(update={"store": str(root / f"{name}.zarr"), "untrained": 0})
            address = local.scheduler_address
            wall = seconds(lambda s=sweep, a=address: crawl.crawl(s, scheduler=a, advance=silent))
            taken[name] = wall[1]
    print(f"workers that write: {taken['workers']:.1f} s; one that writes: {taken['one']:.1f} s; "
          f"ratio {taken['one'] / taken['workers']:.2f}")  # fmt: skip


def found_of_a_step(step: int, layers: int, many: int) -> dict:
    """Return what ridge finds of a step: scores of every voxel, without those of folds."""
    rng = np.random.default_rng(step)
    names = ("score", "r2", "r2_corrected")
    made = {name: rng.normal(0.2, 0.1, (layers, many)).astype(np.float32) for name in names}
    return {name: (("layer", "neuroid"), each) for name, each in made.items()}


def one_writer(small: bool) -> None:
    """What results of many voxels cost the one process that writes them, scheduler included."""
    layers, many, steps = (4, 3000, 4) if small else (24, 30_000, 40)
    with tempfile.TemporaryDirectory() as place, cluster(None, workers=1) as client:
        root = store.begin(Path(place) / "b.zarr", run="bench", identity={"adapter": "synthetic"})
        group = store.begin_result(root, "b", "ridge", identity={}, coordinates={})

        def submit(step: int) -> object:
            return client.submit(found_of_a_step, step, layers, many, called=f"score step {step}")

        taken = {"come": 0.0, "written": 0.0}
        for step, task in in_window(submit, range(steps), 4):
            start = time.process_time()
            found = task.result()
            came = time.process_time()
            store.write_result(group, step, found, checkpoint=f"{step:064x}")
            taken["come"] += came - start
            taken["written"] += time.process_time() - came
    size = sum(values.nbytes for _, values in found.values())
    each = {name: cost / steps for name, cost in taken.items()}
    print(f"results of {layers} layers x {many:,} voxels, {size / 1e6:.1f} MB a step: "
          f"{1e3 * each['come']:.0f} ms of processor to come, {1e3 * each['written']:.0f} ms to be "
          f"written; {size / sum(each.values()) / 1e6:.0f} MB a second")  # fmt: skip


@contextlib.contextmanager
def _none_offered(*_: object, **__: object) -> Iterator[None]:
    yield None


def data(n: int, layers: int, features: int, neuroids: int) -> tuple[dict, Target]:
    """Layers in single precision, and responses of two subjects that are mixtures of them."""
    rng = np.random.default_rng(0)
    common = rng.standard_normal((n, 100), dtype=np.float32)
    found = {}
    for number in range(layers):
        mixed = common @ rng.standard_normal((100, features), dtype=np.float32)
        found[f"layer{number}"] = mixed + 10 * rng.standard_normal((n, features), dtype=np.float32)
    Y = common[:, :50] @ rng.standard_normal((50, neuroids)) + 5 * rng.standard_normal(
        (n, neuroids)
    )
    subjects = np.array(["first", "second"])[np.arange(neuroids) % 2]
    return found, Target(np.arange(n), Y, np.arange(n) % 5, subjects)


def metric(name: str, n: int, small: bool, *, wide: bool = False) -> None:
    """Two layers against 1,000 neuroids, with four halves: seconds and peak memory."""
    n = min(n, 400) if small else n
    features = n if wide else 1024
    layers, target = data(n, 2, features, 100 if small else 1000)
    halves = half_rows(target.folds, 4)
    before = peak_memory()
    cpu, wall = seconds(lambda: analysis.METHODS[name](layers, target, halves=halves))
    print(f"{name}, {n:,} stimuli x {features:,} features, 2 layers, 4 halves")
    print(f"{cpu:.0f} s of processor, {wall:.0f} s, peak {peak_memory():.2f} GiB, "
          f"{before:.2f} before")  # fmt: skip
    goal(f"GiB at the peak, {name}, {n:,} stimuli", peak_memory(), most=8)


def voxels(small: bool) -> None:
    """A step of 24 layers against 30,000 voxels: scores, what is kept, and what a region costs."""
    many, layers = (3000, 4) if small else (30_000, 24)
    found, target = data(165, layers, 1024, many)
    cpu, wall = seconds(lambda: analysis.METHODS["ridge"](found, target))
    print(f"ridge, {layers} layers x {many:,} voxels, 165 stimuli: {cpu:.0f} s of processor, "
          f"{wall:.0f} s, peak {peak_memory():.2f} GiB")  # fmt: skip
    steps = 4 if small else 50
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "bench.zarr"
        root = store.begin(path, run="bench", identity={"adapter": "synthetic"})
        regions = np.repeat([f"region{i}" for i in range(30)], many // 30)
        coordinates = {"layer": ("layer", list(found)), "region": ("neuroid", regions)}
        group = store.begin_result(root, "b", "ridge", identity={}, coordinates=coordinates)
        for step in range(steps):
            score = rng.normal(0.2, 0.1, (layers, many)).astype(np.float32)
            values = {"score": (("layer", "neuroid"), score)}
            values["r2"] = ("layer", "neuroid"), score**2
            store.write_result(group, step, values, checkpoint=f"{step:064x}")
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        read = {}
        for what in ("warm", "region", "all"):
            results, before = store.open(path)["results/b/ridge"], _bytes_read()
            place_of = np.flatnonzero(results["region"] == "region7")
            score = results["score"]
            (score if what == "all" else score.isel(neuroid=place_of)).to_numpy()
            read[what] = _bytes_read() - before
    print(f"{size / steps / 1e6:.2f} MB a step of two variables; a region of one in 30 reads "
          f"{read['region'] / 1e6:.1f} MB, all {read['all'] / 1e6:.1f} MB")  # fmt: skip
    if not small:
        goal("bytes read for a region over all", read["region"] / read["all"], most=0.15)


def _bytes_read() -> int:
    with open("/proc/self/io") as file:
        return int(file.readline().split()[1])


def task(small: bool) -> None:
    """What a task costs beside its products: reading a step, writing what is found."""
    layers, many, steps = (4, 1000, 4) if small else (24, 7694, 20)
    rng = np.random.default_rng(0)
    values = {name: (("layer", "neuroid"), rng.standard_normal((layers, many)).astype(np.float32))
              for name in ("score", "r2")}  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "bench.zarr"
        root = store.begin(path, run="bench", identity={"adapter": "synthetic"})
        store.plan(root, [(0, "checkpoint-0", 1)])
        found = {f"layer{i}": rng.standard_normal((165, 1024), dtype=np.float32)
                 for i in range(layers)}  # fmt: skip
        names = [f"sound{i}" for i in range(165)]
        store.write_activations(root, 0, found, stimuli=names, categories=["speech"] * 165)
        store.commit(root, 0, sha256="0" * 64, seconds=0.5)
        group = store.begin_result(root, "c", "ridge", identity={}, coordinates={})

        def one(step: int) -> None:
            store.read_activations(path, 0)
            store.write_result(group, step, values, checkpoint=f"{step:064x}")

        one(0)
        start = time.process_time()
        for step in range(1, steps + 1):
            one(step)
        cost = 1e3 * (time.process_time() - start) / steps
    goal("ms of processor of a task beside its products", cost, most=50)


def steps(small: bool) -> None:
    """What is done with results of a long run over what it costs for a short one."""
    few, many = (20, 60) if small else (100, 2000)
    taken: dict[str, list[float]] = {}
    # What is imported, compiled or looked up at first is no cost of a step.
    with tempfile.TemporaryDirectory() as place:
        make_long(Path(place) / "bench.zarr", 5)
        report.write(Path(place) / "bench.zarr")
    size = 0.0
    for count in (few, many):
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "bench.zarr"
            make_long(path, count)
            jobs = {
                "open and select": lambda p=path: (
                    store.open(p)["results/long/ridge"]["score"].isel(layer=0).to_numpy()
                ),
                "status": lambda p=path: (
                    *(look(p) for look in (store.summarise, store.controls, store.notes)),
                    store.failures(p),
                ),
                "verify": lambda p=path: (store.verify(p), store.verify_results(p)),
                "statistics": lambda p=path: every_statistic(p),
                "figures": lambda p=path: every_figure(p),
                "report": lambda p=path: report.write(p),
            }
            for name, job in jobs.items():
                taken.setdefault(name, []).append(seconds(job)[0])
            size = report.default_place(path).stat().st_size / 1e6
    for name, (first, last) in taken.items():
        print(f"{name:16} {few} steps: {first:.2f} s, {many:,} steps: {last:.2f} s")
        if not small:
            goal(
                f"{name}: seconds at {many:,} steps over {few}", last / first, most=1.2 * many / few
            )
    if not small:
        goal("seconds of processor of the report", taken["report"][1], most=60)
    goal("MB of the report", size, most=10)


def every_statistic(path: Path) -> None:
    """Ask for all that `results.dynamics` has of a curve a layer."""
    found = dynamics.open(path)["results/long/ridge"].to_dataset().dynamics
    for name in ("half_time", "onset", "plateau", "peak", "decline", "fall", "gain", "area",
                 "best_layer", "fit", "bands", "summarize"):  # fmt: skip
        getattr(found, name)()
    found.order(dim="layer")
    found.compare(dim="layer")


def every_figure(path: Path) -> None:
    """Draw all kinds of figures, as `dynamics plot --figure all` does."""
    tree = store.open(path)
    drawings = plots.figures_of(tree, "ridge", ["long"], only=["all"])
    for drawing in [*drawings, *plots.figures_of_steps(tree, only=["all"])]:
        plots.save(drawing.draw(), path.parent / drawing.name, formats=["pdf"])


def make_long(path: Path, count: int, *, layers: int = 6, neuroids: int = 6) -> None:
    """Make a store with curves that rise one after another, and 50 halves of each."""
    from dynamics import emergence

    rng = np.random.default_rng(0)
    names = [f"layer{i}" for i in range(layers)]
    root = store.begin(path, run="bench", identity={"adapter": "synthetic", "stimuli": "sounds"})
    store.plan(root, [(10 * step, f"checkpoint-{step}", 1) for step in range(count)])
    heard = {"stimuli": [f"sound{i}" for i in range(12)], "categories": ["speech", "music"] * 6}
    for step in range(count):
        found = {name: rng.standard_normal((12, 6)).astype(np.float32) for name in names}
        store.write_activations(root, 10 * step, found, **heard)
        store.commit(root, 10 * step, sha256=f"{step:064x}", seconds=0.5)
    at = np.r_[0, np.linspace(1, 10 * count - 10, count - 1)]
    rise = 1 / (1 + np.exp(-(np.log10(1 + at)[:, None] - np.linspace(1, 4, layers)) / 0.4))
    coordinates = {"layer": ("layer", names), "neuroid": ("neuroid", np.arange(neuroids)),
                   "subject": ("neuroid", ["a", "b", "c"] * (neuroids // 3))}  # fmt: skip
    identity = {"metric": "ridge", "arguments": {}, "seed": 0, "resamples": 50}
    group = store.begin_result(root, "long", "ridge", identity=identity, coordinates=coordinates)
    halves = emergence.scheme("halves", n=2, kept=1, resamples=2).attrs
    for step in range(count):
        score = 0.4 * rise[step][:, None] + 0.01 * rng.standard_normal((layers, neuroids))
        off = 0.02 * rng.standard_normal((layers, 25, neuroids))
        again = score[:, None] + np.stack([off, -off], 2).reshape(layers, 50, neuroids)
        values = {
            "score": (("layer", "neuroid"), score),
            "resample_score": (("layer", "resample", "neuroid"), again),
        }
        store.write_result(group, 10 * step, values, checkpoint=f"{step:064x}",
                           attrs={"resample_score": halves})  # fmt: skip


ROWS: dict[str, Callable[[bool], None]] = {
    "checkpoints": checkpoints,
    "workers": workers,
    "engine": engine,
    "writers": writers,
    "results": one_writer,
    "task": task,
    "steps": steps,
    "voxels": voxels,
}


def run(name: str, small: bool) -> None:
    """Do one row."""
    import torch

    torch.set_num_threads(1)
    if name in ROWS:
        ROWS[name](small)
        return
    which, n, *wide = name.split("-")
    metric(which, int(n), small, wide=bool(wide))


def main() -> None:
    """Do the rows, each in a process of its own."""
    every = [*ROWS, *(f"{name}-{n}" for name in METRICS for n in SIZES)]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", help=f"by default all of {', '.join(every)}")
    parser.add_argument("--small", action="store_true", help="sizes that take seconds")
    given = parser.parse_args()
    for name in given.rows or every:
        print(f"--- {name}", flush=True)
        # Under the name of the module, so that workers find its functions.
        code = (
            f"import sys; sys.path.insert(0, {HERE!r}); import bench_scale as b; b.run({name!r}, "
        )
        done = subprocess.run([sys.executable, "-c", f"{code}{given.small})"])
        if done.returncode:
            print(f"{name}: failed with {done.returncode}", flush=True)


if __name__ == "__main__":
    main()

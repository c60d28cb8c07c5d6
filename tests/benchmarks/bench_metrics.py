"""Timings of the metrics beside other packages, as ratios measured in one run.

python tests/benchmarks/bench_metrics.py [--neuroids 7694] [--large]

All on one core, in processor seconds, so that a busy machine shifts the ratios little. The peers
are in the extra "benchmark". What would take hours is timed on few neuroids and multiplied.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from dynamics import metrics
from dynamics.metrics.ridge import RELATIVE_ALPHAS

LAYERS, FEATURES, STIMULI, FOLDS = 10, 768, 165, 5
COMPONENTS = 6


def main() -> None:
    """Run every comparison and print one line each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--neuroids", type=int, default=7694)
    parser.add_argument("--large", action="store_true", help="30,000 neuroids and 24 layers too")
    parser.add_argument("--memory", type=int, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    if arguments.memory:
        neuroids, layers = arguments.memory
        Xs, Y, folds = data(neuroids, layers)
        metrics.nested_ridge(np.stack([metrics.gram(X) for X in Xs]), Y, folds)
        print(peak_memory())
        return
    encoding(arguments.neuroids)
    similarity()
    whole_set()
    crossover()
    memory([(arguments.neuroids, LAYERS)] + [(30_000, 24)] * arguments.large)


def peak_memory() -> float:
    """Peak memory of this process in GiB; ru_maxrss would carry over that of its parent."""
    with open("/proc/self/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    return int(fields["VmHWM"].split()[0]) / 2**20


def data(neuroids: int, layers: int = LAYERS) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Layers with power-law spectra, neuroids that are noisy mixtures of them, folds."""
    rng = np.random.default_rng(0)
    spectrum = np.arange(1, FEATURES + 1) ** -0.5
    common = rng.normal(size=(STIMULI, FEATURES))
    Xs = [(common + rng.normal(size=(STIMULI, FEATURES))) * spectrum for _ in range(layers)]
    Y = np.zeros((STIMULI, neuroids))
    for X in Xs[:10]:
        Y += X[:, :99] @ rng.normal(size=(99, neuroids))
    return Xs, Y + 5 * rng.normal(size=Y.shape), np.arange(STIMULI) % FOLDS


def seconds(function, *arguments) -> float:
    """Processor seconds of one call."""
    start = time.process_time()
    function(*arguments)
    return time.process_time() - start


def encoding(neuroids: int) -> None:
    """Nested encoding beside bare products, himalaya and one scikit-learn fit a neuroid."""
    Xs, Y, folds = data(neuroids)
    start = time.process_time()
    K = np.stack([metrics.gram(X) for X in Xs])
    result = metrics.nested_ridge(K, Y, folds)
    ours = time.process_time() - start
    print(f"nested encoding, {neuroids} neuroids: {ours:.2f} s (r {result['r'].mean():.3f})")
    few = slice(0, 200)
    exact = metrics.nested_ridge(K, Y[:, few], folds, search_dtype=torch.float64)
    print(f"  largest difference to double: {np.abs(exact['r'] - result['r'][few]).max():.1e}")
    bare = bare_products(neuroids)
    print(f"  bare products: {bare:.2f} s, we take {ours / bare:.2f} times as long")
    try:
        theirs = himalaya(Xs, Y, folds)
        print(f"  himalaya, torch: {theirs:.1f} s, {theirs / ours:.1f} x")
    except ImportError:
        print("  himalaya is not installed")
    single = seconds(one_neuroid, Xs, Y[:, 0], folds)
    print(f"  scikit-learn, one neuroid: {single:.2f} s, {single * neuroids / ours:.0f} x")


def bare_products(neuroids: int, alphas: int = 20) -> float:
    """Seconds of the matrix products of the nested search alone."""
    test, train = STIMULI // FOLDS, STIMULI - 2 * STIMULI // FOLDS
    left, P = torch.randn(alphas * test, train - 1), torch.randn(train - 1, train)
    outer = torch.randn(STIMULI, STIMULI - test).double()
    total = 0.0
    for start in range(0, neuroids, 256):
        width = min(256, neuroids - start)
        y, out = torch.randn(train, width), torch.empty(len(left), width)
        y2 = torch.randn(STIMULI - test, width).double()

        def products(y=y, out=out, y2=y2) -> None:
            for _ in range(FOLDS * (FOLDS - 1) // 2):
                B = P @ y
                torch.mm(left, B, out=out)
                torch.mm(left, B, out=out)
            for _ in range(FOLDS):
                outer @ y2

        total += seconds(products)
    return total * LAYERS


def himalaya(Xs, Y, folds) -> float:
    """Seconds of a loop of KernelRidgeCV over layers and outer folds, on its torch back end."""
    from himalaya.backend import set_backend
    from himalaya.kernel_ridge import KernelRidgeCV
    from sklearn.model_selection import PredefinedSplit

    set_backend("torch")
    target = torch.as_tensor(Y).float()

    def loop() -> None:
        for X in Xs:
            K = torch.as_tensor(X @ X.T).float()
            grid = RELATIVE_ALPHAS * float(K.diagonal().mean())
            for f in range(FOLDS):
                train, test = np.flatnonzero(folds != f), np.flatnonzero(folds == f)
                model = KernelRidgeCV(grid, kernel="precomputed", cv=PredefinedSplit(folds[train]))
                model.fit(K[train][:, train], target[train])
                model.predict(K[test][:, train])

    return seconds(loop)


def one_neuroid(Xs, y, folds) -> None:
    """Nested grid search as published scripts do it: a fit for each layer, alpha and split."""
    from sklearn.linear_model import Ridge

    for f in range(FOLDS):
        inside = np.flatnonzero(folds != f)
        best = (-2.0, None, None)
        for X in Xs:
            for alpha in (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 50.0):
                pooled = np.zeros(len(inside))
                for g in set(folds[inside]):
                    train, test = inside[folds[inside] != g], folds[inside] == g
                    model = Ridge(alpha).fit(X[train], y[train])
                    pooled[test] = model.predict(X[inside[test]])
                score = np.corrcoef(pooled, y[inside])[0, 1]
                best = max(best, (score, alpha, id(X)))


def similarity() -> None:
    """Bootstrap of Spearman RSA, ten layers against eight subjects."""
    rng = np.random.default_rng(0)
    D, E = (
        np.stack([metrics.rdm(rng.normal(size=(STIMULI, 50))) for _ in range(k)]) for k in (10, 8)
    )
    resamples = 100
    counts = metrics.bootstrap_counts(STIMULI, resamples)
    ours = seconds(metrics.resampled_rsa, D, E, counts) / resamples
    print(f"RSA, one resample of 10 layers x 8 subjects: {ours * 1e3:.2f} ms")
    try:
        from rsatoolbox.inference import eval_bootstrap_pattern
        from rsatoolbox.model import ModelFixed
        from rsatoolbox.rdm import RDMs
    except ImportError:
        print("  rsatoolbox is not installed")
        return
    upper = np.triu_indices(STIMULI, 1)
    models = [ModelFixed(str(i), RDMs(d[upper][None])) for i, d in enumerate(D)]
    subjects = RDMs(E[:, *upper])

    def theirs() -> None:
        eval_bootstrap_pattern(models, subjects, method="spearman", N=5, boot_noise_ceil=False)

    peer = seconds(theirs) / 5
    print(f"  rsatoolbox: {peer * 1e3:.0f} ms, {peer / ours:.0f} x")


def whole_set(steps: int = 5) -> None:
    """Ridge, RSA, CKA, Procrustes and ceilings for a sweep of 100 steps, extrapolated."""
    Xs, Y, folds = data(COMPONENTS)
    repeated = Y[:, :, None] + np.random.default_rng(0).normal(size=(*Y.shape, 3))

    def step() -> None:
        K = np.stack([metrics.gram(X) for X in Xs])
        metrics.nested_ridge(K, Y, folds)
        metrics.compare_rdms(np.stack([metrics.rdm(X) for X in Xs]), E)
        metrics.cka_gram(K, L)
        metrics.procrustes_gram(K, L)

    E, L = metrics.rdm(Y), metrics.gram(Y)
    once = seconds(metrics.noise_ceiling, repeated)
    each = seconds(lambda: [step() for _ in range(steps)]) / steps
    total = once + 100 * each
    print(f"default set, 100 steps x 10 layers x 6 components: {total:.1f} s on one core")


def crossover() -> None:
    """Gram form and feature form of one layer for growing numbers of features."""
    rng = np.random.default_rng(0)
    for n, widths in ((1000, (50, 200, 500, 1000)), (3000, (500,))):
        Y, folds = rng.normal(size=(n, 50)), np.arange(n) % FOLDS
        for p in widths:
            X = rng.normal(size=(n, p))
            dual = seconds(
                lambda X=X, Y=Y, folds=folds: metrics.nested_ridge(metrics.gram(X)[None], Y, folds)
            )
            auto = seconds(
                lambda X=X, Y=Y, folds=folds: metrics.nested_ridge_features([X], Y, folds)
            )
            print(f"n {n}, p {p}: Gram form {dual:.2f} s, chosen form {auto:.2f} s")


def memory(sizes: list[tuple[int, int]]) -> None:
    """Peak memory of nested encoding in a process of its own."""
    for neuroids, layers in sizes:
        command = [sys.executable, __file__, "--memory", str(neuroids), str(layers)]
        peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        print(f"peak memory, {neuroids} neuroids x {layers} layers: {float(peak):.2f} GiB")


if __name__ == "__main__":
    main()

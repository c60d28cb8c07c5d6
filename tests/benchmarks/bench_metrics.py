"""Timings of the metrics beside other packages, as ratios measured in one run.

python tests/benchmarks/bench_metrics.py [--neuroids 7694] [--threads 2] [--large]

Ratios are of processor seconds of calls made in turn, so that a busy machine shifts them little;
wall seconds stand beside them. Nested encoding is also compared with as many threads as the
machine has, in wall seconds, which only a quiet machine shows. The peers are in the extra
"benchmark". What would take hours is timed on few neuroids or splits and multiplied, and says so.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import warnings
from collections.abc import Callable

import numpy as np
import torch
from goals import goal, interleaved, peak_memory, seconds
from threadpoolctl import threadpool_limits

from dynamics import metrics
from dynamics.metrics.factorisation import Factor
from dynamics.metrics.inner_cv import BLOCK
from dynamics.metrics.nested import nested_layers
from dynamics.metrics.ridge import RELATIVE_ALPHAS, default_alphas

LAYERS, FEATURES, STIMULI, FOLDS = 10, 768, 165, 5
COMPONENTS = 6


def main() -> None:
    """Run every comparison; every goal is one line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--neuroids", type=int, default=7694)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--large", action="store_true", help="30,000 neuroids, 5,000 stimuli too")
    parser.add_argument("--memory", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    if arguments.memory:
        form, *sizes = arguments.memory
        print(peak_of(form, *map(int, sizes)))
        return
    for threads in sorted({1, arguments.threads}, reverse=True):
        torch.set_num_threads(threads)
        with threadpool_limits(threads):
            encoding(arguments.neuroids, arguments.repeats, threads)
    with threadpool_limits(1):
        similarity()
        whole_set()
        crossover(5000 if arguments.large else 1000)
    memory(arguments.neuroids, large=arguments.large)


def peak_of(form: str, stimuli: int, neuroids: int, width: int) -> float:
    """Peak GiB of one nested encoding: `width` layers, or one layer of `width` features."""
    if form == "layers":
        Xs, Y, folds = data(neuroids, width)
        metrics.nested_ridge(np.stack([metrics.gram(X) for X in Xs]), Y, folds)
    else:
        rng = np.random.default_rng(0)
        X, Y = rng.normal(size=(stimuli, width)), rng.normal(size=(stimuli, neuroids))
        metrics.nested_ridge_features([X], Y, np.arange(stimuli) % FOLDS)
    return peak_memory()


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


def encoding(neuroids: int, repeats: int, threads: int) -> None:
    """Nested encoding beside bare products, himalaya and one scikit-learn fit a neuroid."""
    clock = 0 if threads == 1 else 1
    Xs, Y, folds = data(neuroids)

    def ours(more: slice = slice(None)) -> dict:
        K = np.stack([metrics.gram(X) for X in Xs])
        return metrics.nested_ridge(K, Y[:, more], folds)

    compared: dict[str, Callable[[], object]] = {"ours": ours}
    compared["products of predicting"] = lambda: bare_products(neuroids)
    compared["products used"] = lambda: used_products(neuroids)
    try:
        import himalaya  # noqa: F401

        compared["himalaya, torch"] = lambda: by_himalaya(Xs, Y, folds)
    except ImportError:
        print("himalaya is not installed")
    found = interleaved(compared, repeats)
    print(f"nested encoding, {neuroids} neuroids, {LAYERS} layers, threads: {threads}")
    for name, (cpu, wall) in found.items():
        print(f"  {name}: {cpu:.2f} s of processor, {wall:.2f} s")
    mine, unit = found["ours"][clock], ("processor", "wall")[clock]
    most = found["products of predicting"][clock]
    goal(f"times the products of predicting, {unit}", mine / most, most=2)
    print(f"  times the products that are left here: {mine / found['products used'][clock]:.2f}")
    if "himalaya, torch" in found:
        goal(f"times as fast as himalaya, {unit}", found["himalaya, torch"][clock] / mine, least=6)
    if threads > 1:
        return
    few = slice(0, 200)
    K = np.stack([metrics.gram(X) for X in Xs])
    exact = metrics.nested_ridge(K, Y[:, few], folds, search_dtype=torch.float64)["r"]
    goal("largest difference of r to double", np.abs(exact - ours()["r"][few]).max(), most=1e-4)
    single = np.median([seconds(lambda j=j: one_neuroid(Xs, Y[:, j], folds))[0] for j in range(3)])
    print(f"  scikit-learn, one neuroid a call: {single:.2f} s, times {neuroids} extrapolated")
    goal("times as fast as one neuroid a call", single * neuroids / mine, least=5000)


def bare_products(neuroids: int, alphas: int = 20) -> None:
    """Matrix products of a nested search that predicts with every alpha."""
    test, train = STIMULI // FOLDS, STIMULI - 2 * STIMULI // FOLDS
    left, P = torch.randn(alphas * test, train - 1), torch.randn(train - 1, train)
    outer = torch.randn(STIMULI, STIMULI - test).double()
    for start in range(0, neuroids, 256):
        width = min(256, neuroids - start)
        y, out = torch.randn(train, width), torch.empty(len(left), width)
        y2 = torch.randn(STIMULI - test, width).double()
        for _ in range(LAYERS):
            for _ in range(FOLDS * (FOLDS - 1) // 2):
                B = P @ y
                torch.mm(left, B, out=out)
                torch.mm(left, B, out=out)
            for _ in range(FOLDS):
                outer @ y2


def used_products(neuroids: int, alphas: int = 20) -> None:
    """Matrix products of the search as it is done here, see `dynamics.metrics.inner_cv`."""
    test, train = STIMULI // FOLDS, STIMULI - 2 * STIMULI // FOLDS
    k = train - 1
    P, M, A = torch.randn(k, train), torch.randn(2 * k, k), torch.randn(k, test)
    D, D2 = torch.randn(alphas, k), torch.randn(2 * alphas, k)
    outer = torch.randn(STIMULI, STIMULI - test).double()
    for start in range(0, neuroids, BLOCK):
        width = min(BLOCK, neuroids - start)
        y, y_test = torch.randn(train, width), torch.randn(test, width)
        y2 = torch.randn(STIMULI - test, width).double()
        for _ in range(LAYERS):
            for _ in range(FOLDS * (FOLDS - 1) // 2):
                b = P @ y
                M @ b
                D2 @ b
                D2 @ b
                for _ in range(2):
                    D @ b
                    D @ (A @ y_test)
            for _ in range(FOLDS):
                outer @ y2


def by_himalaya(Xs, Y, folds) -> None:
    """Loop of KernelRidgeCV over layers and outer folds, on its torch back end."""
    from himalaya.backend import set_backend
    from himalaya.kernel_ridge import KernelRidgeCV
    from sklearn.model_selection import PredefinedSplit

    set_backend("torch")
    target = torch.as_tensor(Y).float()
    for X in Xs:
        K = torch.as_tensor(X @ X.T).float()
        grid = RELATIVE_ALPHAS * float(K.diagonal().mean())
        for f in range(FOLDS):
            train, test = np.flatnonzero(folds != f), np.flatnonzero(folds == f)
            model = KernelRidgeCV(grid, kernel="precomputed", cv=PredefinedSplit(folds[train]))
            model.fit(K[train][:, train], target[train])
            model.predict(K[test][:, train])


def one_neuroid(Xs, y, folds) -> np.ndarray:
    """One neuroid as published scripts treat it: a scikit-learn fit a layer, alpha and split.

    The layer and alpha with the best pooled score inside the training folds; an alpha at the edge
    of what was tried is doubled or halved for the winning layer until it lies inside.
    """
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def fitted(layer: int, alpha: float, rows: np.ndarray):
        model = make_pipeline(StandardScaler(with_std=False), Ridge(alpha=alpha))
        return model.fit(Xs[layer][rows], y[rows])

    prediction = np.zeros(len(y))
    for f in range(FOLDS):
        inside = np.flatnonzero(folds != f)

        def score(layer: int, alpha: float, inside=inside) -> float:
            pooled = np.zeros(len(y))
            for g in np.unique(folds[inside]):
                test = inside[folds[inside] == g]
                model = fitted(layer, alpha, inside[folds[inside] != g])
                pooled[test] = model.predict(Xs[layer][test])
            return max(np.corrcoef(pooled[inside], y[inside])[0, 1], 0.0) ** 2

        tried = {
            (layer, alpha): score(layer, alpha)
            for alpha in (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 50.0)
            for layer in range(len(Xs))
        }
        while True:
            layer, alpha = max(tried, key=tried.get)
            alphas = [a for _, a in tried]
            if alpha not in (min(alphas), max(alphas)) or not 1e-49 < alpha < 1e50:
                break
            alpha = alpha / 2 if alpha == min(alphas) else alpha * 2
            tried[layer, alpha] = score(layer, alpha)
        prediction[folds == f] = fitted(layer, alpha, inside).predict(Xs[layer][folds == f])
    return prediction


def similarity() -> None:
    """Bootstrap of Spearman RSA, ten layers against eight subjects."""
    rng = np.random.default_rng(0)
    D, E = (
        np.stack([metrics.rdm(rng.normal(size=(STIMULI, 50))) for _ in range(k)]) for k in (10, 8)
    )
    resamples = 100
    counts = metrics.bootstrap_counts(STIMULI, resamples)
    ours = seconds(lambda: metrics.resampled_rsa(D, E, counts))[0] / resamples
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

    peer = seconds(theirs)[0] / 5
    print(f"  rsatoolbox: {peer * 1e3:.0f} ms")
    goal("times as fast as rsatoolbox", peer / ours, least=50)


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
    once = seconds(lambda: metrics.noise_ceiling(repeated))[0]
    each = seconds(lambda: [step() for _ in range(steps)])[0] / steps
    goal("processor seconds of the default set, 100 steps (5 measured)", once + 100 * each, most=60)


def crossover(largest: int) -> None:
    """Gram form and feature form of one layer for growing numbers of features."""
    rng = np.random.default_rng(0)
    n, neuroids = 1000, 50
    Y, folds = rng.normal(size=(n, neuroids)), np.arange(n) % FOLDS
    worst = 0.0
    for p in (100, 300, 500, 600, 700, 800, 1000):
        X = torch.as_tensor(rng.normal(size=(n, p)))
        K = X @ X.T
        grid = torch.as_tensor(default_alphas(K[None]))
        found = interleaved(
            {
                "Gram": lambda K=K, grid=grid: nested_layers([(K, Factor.of)], Y, folds, grid),
                "features": lambda X=X, grid=grid: nested_layers(
                    [(X, Factor.of_features)], Y, folds, grid
                ),
                "chosen": lambda X=X: metrics.nested_ridge_features([X], Y, folds),
            },
            1,
        )
        line = ", ".join(f"{name} {cpu:.2f} s" for name, (cpu, _) in found.items())
        print(f"n {n}, p {p}: {line}")
        worst = max(worst, found["chosen"][0] / min(found["Gram"][0], found["features"][0]))
    goal("times the better form that the chosen form takes, worst case", worst, most=1.25)
    if largest > n:
        larger(largest, p=500)


def larger(n: int, p: int) -> None:
    """Many stimuli: the feature form whole, the Gram form from one inner and one outer split."""
    rng = np.random.default_rng(0)
    X, Y = torch.as_tensor(rng.normal(size=(n, p))), rng.normal(size=(n, 1000))
    folds = np.arange(n) % FOLDS
    features = seconds(lambda: metrics.nested_ridge_features([X], Y, folds))[0]
    K = X @ X.T
    rows = [torch.as_tensor(np.flatnonzero(folds == f)) for f in range(FOLDS)]
    inner = seconds(lambda: Factor.of(K, torch.cat(rows[2:]), torch.cat(rows[:2])))[0]
    outer = seconds(lambda: Factor.of(K, torch.cat(rows[1:]), rows[0]))[0]
    gram = 10 * inner + 5 * outer
    print(f"n {n}, p {p}: features {features:.1f} s, Gram at least {gram:.0f} s (2 splits of 15)")


def memory(neuroids: int, *, large: bool) -> None:
    """Peak memory of nested encoding in a process of its own."""
    sizes = [("layers", STIMULI, neuroids, LAYERS, 2.0)]
    if large:
        sizes.append(("layers", STIMULI, 30_000, 24, 4.0))
        sizes.append(("features", 5000, 1000, 500, 2.0))
        sizes.append(("features", 5000, neuroids, 500, 4.0))
    for form, n, v, width, most in sizes:
        command = [sys.executable, __file__, "--memory", form, str(n), str(v), str(width)]
        peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        what = "layers" if form == "layers" else "features"
        goal(f"GiB at the peak, {n} stimuli x {v} neuroids, {width} {what}", float(peak), most=most)


if __name__ == "__main__":
    main()

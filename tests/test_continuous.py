"""Encoding of continuous sound: stimuli of unequal length, blocks, delays, repetitions, stories."""

import numpy as np
import pytest
import torch
from scipy.signal import lfilter
from sklearn.linear_model import Ridge

from dynamics import metrics
from dynamics.metrics import blocks
from dynamics.metrics.delays import delayed

RATE = 10.0


def made(lengths=(60, 45, 80, 52, 71, 66), p=4, v=3, noise=1.0, seed=0):
    """Activations and responses that follow them by 1 and 3 samples."""
    rng = np.random.default_rng(seed)
    X = [rng.standard_normal((t, p)) for t in lengths]
    W = rng.standard_normal((2, p, v))
    Y = [
        sum(np.vstack([np.zeros((d, p)), x[: len(x) - d]]) @ w for d, w in zip((1, 3), W))
        + noise * rng.standard_normal((len(x), v))
        for x in X
    ]
    return X, Y


def rows_of(X, delays, lead=0):
    """Delayed copies side by side, by a loop over times; the mean stands in for no sound."""
    mean = np.concatenate(X).mean(0)
    out = []
    for x in X:
        t = len(x) - lead
        rows = np.zeros((t, len(delays), x.shape[1]))
        for i in range(t):
            for k, d in enumerate(delays):
                if 0 <= lead + i - d < len(x):
                    rows[i, k] = x[lead + i - d] - mean
        out.append(rows.reshape(t, -1))
    return out


def pearson(a, b):
    return np.array([np.corrcoef(x, y)[0, 1] for x, y in zip(a.T, b.T)])


def nested_by_scikit_learn(F, Y, trains, tests, inner_tests, alphas):
    """Pooled out-of-fold predictions with an alpha a fold and neuroid, by plain loops.

    `trains(out)` are the rows that train where folds `out` are left out.
    """
    n_folds, v = len(tests), Y.shape[1]
    prediction = np.full(Y.shape, np.nan)
    for f in range(n_folds):
        others = [g for g in range(n_folds) if g != f]
        pooled = np.full((len(alphas), *Y.shape), np.nan)
        for g in others:
            rows = trains((f, g))
            for a, alpha in enumerate(alphas):
                model = Ridge(alpha).fit(F[rows], Y[rows])
                inner = inner_tests(g, f)
                pooled[a, inner] = model.predict(F[inner])
        known = np.concatenate([inner_tests(g, f) for g in others])
        score = np.array([pearson(each[known], Y[known]) for each in pooled])
        best = len(alphas) - 1 - score[::-1].argmax(0)
        rows = trains((f,))
        for j in range(v):
            model = Ridge(alphas[best[j]]).fit(F[rows], Y[rows, j])
            prediction[tests[f], j] = model.predict(F[tests[f]])
    return prediction


@pytest.mark.parametrize("lengths", [(60, 45, 80, 52, 71, 66), (50,) * 6])
@pytest.mark.parametrize("centre", ["stimulus", "all"])
def test_agrees_with_scikit_learn_by_stimulus(lengths, centre):
    X, Y = made(lengths)
    folds, alphas = np.array([0, 1, 2, 0, 1, 2]), np.logspace(-1, 3, 5)
    found = metrics.encode_continuous(
        {"a": X}, Y, rate=RATE, windows=((0, 0.3),), components=None, folds=folds,
        alphas=alphas, centre=centre,
    )  # fmt: skip
    F = np.concatenate(rows_of(X, range(4)))
    means = [y.mean(0) if centre == "stimulus" else np.concatenate(Y).mean(0) for y in Y]
    target = np.concatenate([y - mean for y, mean in zip(Y, means)])
    fold = np.repeat(folds, lengths)
    tests = [np.flatnonzero(fold == f) for f in range(3)]
    expected = nested_by_scikit_learn(
        F, target, lambda out: np.flatnonzero(~np.isin(fold, out)), tests,
        lambda g, _: tests[g], alphas,
    )  # fmt: skip
    whole = expected + np.repeat(means, lengths, axis=0)
    np.testing.assert_allclose(np.concatenate(found["prediction"]), whole, atol=1e-10)
    np.testing.assert_allclose(found["r"], pearson(expected, target), atol=1e-10)
    within = [pearson(a, b) for a, b in zip(found["prediction"], Y)]
    np.testing.assert_allclose(found["r_stimulus"], within, atol=1e-10)
    assert np.isnan(found["guard"])


def test_agrees_with_scikit_learn_by_blocks_with_a_guard():
    X, Y = made((130, 95))
    alphas = np.logspace(-1, 3, 5)
    found = metrics.encode_continuous(
        {"a": X}, Y, rate=RATE, windows=((0, 0.3),), components=None, block=1.5, folds=4,
        guard=0.2, alphas=alphas,
    )  # fmt: skip
    lengths, fold = [130, 95], np.concatenate(found["split"].folds)
    place = np.concatenate([np.arange(t) + 1000 * s for s, t in enumerate(lengths)])
    tests = [np.flatnonzero(fold == f) for f in range(4)]
    assert min(map(len, tests)) >= 45 and found["guard"] == 0.2

    def apart(rows, f):
        gap = np.abs(place[rows][:, None] - place[tests[f]][None]).min(1)
        return rows[gap > 5]  # three samples of delay, two of guard

    def trains(out):
        rows = np.flatnonzero(~np.isin(fold, out))
        for f in out:
            rows = apart(rows, f)
        return rows

    F = np.concatenate(rows_of(X, range(4)))
    target = np.concatenate([y - y.mean(0) for y in Y])
    expected = nested_by_scikit_learn(
        F, target, trains, tests, lambda g, f: apart(tests[g], f), alphas
    )
    np.testing.assert_allclose(found["r"], pearson(expected, target), atol=1e-10)
    assert len(trains((0,))) < np.sum(fold != 0)


def test_delays_end_at_a_stimulus_and_begin_before_its_responses():
    X, Y = made()
    x = torch.arange(12.0).reshape(6, 2)
    assert delayed(x, [0, 2]).tolist()[0] == [0, 1, 0, 0]
    assert delayed(x, [0, 2], lead=2).tolist()[0] == [4, 5, 0, 1]
    assert delayed(x, [7]).tolist() == [[0, 0]] * 6
    lead, alphas = 3, [1.0]
    early = {"a": X}
    late = [y[lead:] for y in Y]
    options = {"rate": RATE, "windows": ((0, 0.3),), "components": None, "folds": 3,
               "alphas": alphas}  # fmt: skip
    found = metrics.encode_continuous(early, late, lead=lead, **options)
    F = rows_of(X, range(4), lead)
    target = [y - y.mean(0) for y in late]
    fold = [each[0] for each in found["split"].folds]
    for s, (features, response) in enumerate(zip(F, late)):
        rest = [k for k in range(len(F)) if fold[k] != fold[s]]
        model = Ridge(1.0).fit(
            np.concatenate([F[k] for k in rest]), np.concatenate([target[k] for k in rest])
        )
        expected = model.predict(features) + response.mean(0)
        np.testing.assert_allclose(found["prediction"][s], expected, atol=1e-10)


def test_the_window_and_the_layer_that_hold_the_signal_are_chosen():
    X, Y = made(noise=0.3)
    other = [np.random.default_rng(9).standard_normal(x.shape) for x in X]
    found = metrics.encode_continuous(
        {"other": other, "own": X}, Y, rate=RATE, windows=((0, 0), (0, 0.3)), folds=3
    )
    assert (found["layer"] == 1).all() and (found["window"] == 1).all()
    assert found["r"].min() > 0.95 and abs(found["best_window_r"][0]).max() < 0.3
    assert found["latency_r"][1].argmax(0).tolist() == [
        int(np.argmax(found["latency_r"][1][:, j])) for j in range(3)
    ]
    assert set(found["latency_r"][1].argmax(0)) <= {1, 3}


def test_what_is_trimmed_or_missing_is_neither_fitted_nor_scored():
    X, Y = made()
    options = {"rate": RATE, "windows": ((0, 0.3),), "folds": 3, "alphas": [1.0]}
    holed = [y.copy() for y in Y]
    for y in holed:
        y[:10], y[-5:] = np.nan, np.nan
    trimmed = metrics.encode_continuous({"a": X}, Y, trim=(1.0, 0.5), **options)
    masked = metrics.encode_continuous({"a": X}, holed, missing="mask", **options)
    np.testing.assert_allclose(trimmed["r"], masked["r"], atol=1e-12)
    assert np.isnan(trimmed["prediction"][0][:10]).all()
    spoilt = [y.copy() for y in Y]
    for y in spoilt:
        y[:10] = 1e6
    again = metrics.encode_continuous({"a": X}, spoilt, trim=(1.0, 0.5), **options)
    np.testing.assert_allclose(again["r"], trimmed["r"], atol=1e-12)


def test_resamples_of_stimuli_are_the_metric_on_these_stimuli():
    X, Y = made((50, 45, 55, 40, 52, 47, 61, 38))
    folds = np.array([0, 1, 2, 0, 1, 2, 0, 1])
    half = np.array([0, 1, 2, 4])
    options = {"rate": RATE, "windows": ((0, 0), (0, 0.3)), "alphas": np.logspace(0, 2, 3),
               "components": None}  # fmt: skip
    every = metrics.encode_continuous(
        {"a": X}, Y, folds=folds, rows=[np.arange(8), half], **options
    )
    np.testing.assert_allclose(every["resample_r"][:, 0], every["best_window_r"], atol=1e-12)
    # The mean activation is that of all stimuli in the one and of these in the other, and stands
    # in at 3 samples of each stimulus: alike to a hundredth.
    alone = metrics.encode_continuous(
        {"a": [X[s] for s in half]}, [Y[s] for s in half], folds=folds[half], **options
    )
    np.testing.assert_allclose(every["resample_r"][:, 1], alone["best_window_r"], atol=0.01)


def test_torch_gives_torch_and_equal_lengths_are_the_same_code():
    X, Y = made((50,) * 6)
    options = {"rate": RATE, "windows": ((0, 0.3),), "folds": np.arange(6) % 3}
    listed = metrics.encode_continuous({"a": X}, Y, centre="all", **options)
    stacked = metrics.encode_timeresolved(np.stack(X), np.stack(Y), **options)
    for name in ("r", "layer_r", "latency_r", "alpha"):
        np.testing.assert_array_equal(listed[name], stacked[name])
    tensors = metrics.encode_continuous(
        {"a": [torch.as_tensor(x) for x in X]}, [torch.as_tensor(y) for y in Y], **options
    )
    assert isinstance(tensors["r"], torch.Tensor)
    assert isinstance(tensors["prediction"][0], torch.Tensor)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"rate": 0.0}, "positive rate"),
        ({"windows": ((0.2, 0.1),)}, "not causal"),
        ({"windows": ((0, 20.0),)}, "reaches further back"),
        ({"trim": (3.0, 3.0)}, "leaves nothing"),
        ({"centre": "block"}, "use 'stimulus' or 'all'"),
        ({"block": 3.0, "folds": np.arange(6)}, "give one of them"),
        ({"block": 20.0, "folds": 7}, "use shorter blocks or fewer folds"),
        ({"block": 1.0, "guard": 6.0}, "use longer blocks"),
        ({"block": 1.0, "guard": -1.0}, "guard of 0 or more"),
        ({"rows": [np.array([0, 1])]}, "no stimulus of a fold"),
        ({"folds": 2}, "at least 3 folds"),
    ],
)
def test_bad_input_is_one_sentence(change, message):
    X, Y = made()
    with pytest.raises(ValueError, match=message) as caught:
        metrics.encode_continuous({"a": X}, Y, **{"rate": RATE, "windows": ((0, 0.3),)} | change)
    assert "\n" not in str(caught.value)


def test_shapes_that_do_not_fit_are_named():
    X, Y = made()
    with pytest.raises(ValueError, match=r"layer 'a' has shape .* at stimulus 2 but Y has 80"):
        metrics.encode_continuous({"a": [*X[:2], X[2][:-1], *X[3:]]}, Y, rate=RATE)
    with pytest.raises(ValueError, match="layer 'a' has 5 stimuli but Y has 6"):
        metrics.encode_continuous({"a": X[:-1]}, Y, rate=RATE)
    with pytest.raises(ValueError, match=r"Y\[1\] has shape"):
        metrics.encode_continuous({"a": X}, [Y[0], Y[1][:, :2], *Y[2:]], rate=RATE)
    bad = [x.copy() for x in X]
    bad[3][7, 1] = np.inf
    with pytest.raises(ValueError, match="first at stimulus 3, time 7"):
        metrics.encode_continuous({"a": bad}, Y, rate=RATE)


@pytest.mark.slow
def test_the_audiobook_gives_the_numbers_of_an_independent_program(data_root):
    """Of METRICS: 24 log-mel bands, 36 delays, leave-one-trial-out inside leave-one-trial-out."""
    soundfile = pytest.importorskip("soundfile")
    with np.load(data_root / "naplib-speech" / "responses.npz") as file:
        Y = [file[name] for name in sorted(file.files)]
        names = sorted(file.files)
    X = []
    for name, y in zip(names, Y):
        sound, rate = soundfile.read(data_root / "naplib-speech" / "sounds" / f"{name}.flac")
        X.append(log_mel(sound, rate, len(y)))
    every = np.concatenate(X)
    X = [(x - every.mean(0)) / every.std(0) for x in X]
    found = metrics.encode_continuous(
        {"mel": X}, Y, rate=100, windows=((0, 0.35),), components=None, folds=np.arange(6),
        centre="all", alphas=np.logspace(0, 7, 15),
    )  # fmt: skip
    np.testing.assert_allclose(found["r"], [0.764, 0.783, 0.770, 0.682, 0.731, 0.605], atol=0.005)


def log_mel(sound, rate, samples, bands=24, low=80.0, high=5000.0):
    """Log energies of mel bands in 25 ms Hann windows about the centres of samples at 100 Hz."""
    width, size = round(0.025 * rate), 512
    mel = np.linspace(*(2595 * np.log10(1 + f / 700) for f in (low, high)), bands + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    f = np.fft.rfftfreq(size, 1 / rate)
    rise = (f - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - f) / np.diff(edges)[1:, None]
    filters = np.maximum(0, np.minimum(rise, fall))
    padded = np.pad(sound, width)
    starts = np.round((np.arange(samples) + 0.5) / 100 * rate).astype(int) - width // 2 + width
    frames = padded[starts[:, None] + np.arange(width)] * np.hanning(width)
    power = np.abs(np.fft.rfft(frames, size)) ** 2
    return np.log(np.maximum(power @ filters.T, 1e-8))


class Centring(Ridge):
    """Ridge of centred features: told of an intercept, MNE also moves every delayed copy."""

    def fit(self, X, y):
        self.mean_ = X.mean(0)
        return super().fit(X - self.mean_, y)

    def predict(self, X):
        return super().predict(X - self.mean_)


def test_agrees_with_mne_on_the_same_splits():
    """Single-precision-free to 1e-6: both solve the same normal equations in double precision."""
    mne = pytest.importorskip("mne")
    lengths, alpha = (80,) * 6, 10.0
    X, Y = made(lengths)
    mean = np.concatenate(X).mean(0)
    X = [x - mean for x in X]  # so that its zeros before the onset are ours
    folds = np.array([0, 1, 2, 0, 1, 2])
    found = metrics.encode_continuous(
        {"a": X}, Y, rate=RATE, windows=((0, 0.3),), components=None, folds=folds,
        alphas=[alpha], centre="all",
    )  # fmt: skip
    epochs, responses = (np.stack(each).transpose(1, 0, 2) for each in (X, Y))
    for f in range(3):
        field = mne.decoding.ReceptiveField(
            0, 0.3, RATE, estimator=Centring(alpha, fit_intercept=False), scoring="corrcoef"
        )
        level = responses[:, folds != f].mean((0, 1))
        field.fit(epochs[:, folds != f], responses[:, folds != f] - level)
        expected = field.predict(epochs[:, folds == f]) + level
        ours = np.stack([found["prediction"][s] for s in np.flatnonzero(folds == f)], 1)
        np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_agrees_with_himalaya_on_delayed_features_of_unequal_lengths():
    himalaya = pytest.importorskip("himalaya.ridge")
    X, Y = made((60, 45, 80, 52, 71, 66))
    folds = np.array([0, 1, 2, 0, 1, 2])
    alphas = np.logspace(0, 2, 3)
    found = metrics.encode_continuous(
        {"a": X}, Y, rate=RATE, windows=((0, 0.3),), components=None, folds=folds, alphas=alphas
    )
    F = rows_of(X, range(4))
    target = [y - y.mean(0) for y in Y]
    for f in range(3):
        train = [s for s in range(6) if folds[s] != f]
        model = himalaya.Ridge(alpha=found["alpha"][f], fit_intercept=True)
        model.fit(np.concatenate([F[s] for s in train]), np.concatenate([target[s] for s in train]))
        for s in np.flatnonzero(folds == f):
            ours = found["prediction"][s] - Y[s].mean(0)
            np.testing.assert_allclose(ours, model.predict(F[s]), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("stimuli, samples", [(3, 240), (10, 120), (100, 12)])
@pytest.mark.parametrize("tau", [0, 1, 10])
def test_without_a_signal_p_values_are_those_of_chance_whatever_the_autocorrelation(
    stimuli, samples, tau
):
    """Noise and activations of equal time constants, responses moved around in their stimuli."""
    rate, neuroids, shuffles, times = 2.0, 20, 99, 12
    rng = np.random.default_rng(stimuli + tau)
    options = {"rate": rate, "windows": ((0, 1.0),), "components": None,
               "alphas": np.logspace(0, 4, 5)}  # fmt: skip
    p, r = [], []
    for _ in range(times):
        X = [noise(rng, (samples, 3), tau * rate) for _ in range(stimuli)]
        Y = [noise(rng, (samples, neuroids), tau * rate) for _ in range(stimuli)]
        found = metrics.encode_continuous({"a": X}, Y, **options)
        reach = 6 if samples > 12 else 2
        orders = blocks.circular_shifts([samples] * stimuli, shuffles, reach=reach)
        moved = [np.concatenate(y[order], 1) for y, order in zip(Y, orders)]
        guard = None if np.isnan(found["guard"]) else found["guard"]
        null = metrics.encode_continuous({"a": X}, moved, guard=guard, **options)
        null = null["best_window_r"][0].reshape(shuffles, neuroids)
        r.append(found["best_window_r"][0])
        p.append((1 + (null >= r[-1] - 1e-9).sum(0)) / (shuffles + 1))
    # 240 neuroids of 12 samples of sounds, alike within a sample: three standard errors.
    assert 0.01 <= np.mean(np.concatenate(p) <= 0.05) <= 0.10
    assert 0.35 <= np.mean(np.concatenate(p) <= 0.5) <= 0.65
    assert -0.15 < np.mean(r) < 0.03


def test_splits_by_single_samples_would_find_what_is_not_there():
    rng, rate = np.random.default_rng(0), 2.0
    X, Y = ([noise(rng, (150, v), 10 * rate) for _ in range(2)] for v in (30, 40))
    features, target = np.concatenate(X), np.concatenate(Y)
    fold = rng.permutation(np.arange(len(features)) % 5)
    prediction = np.zeros_like(target)
    for f in range(5):
        model = Ridge(1.0).fit(features[fold != f], target[fold != f])
        prediction[fold == f] = model.predict(features[fold == f])
    assert pearson(prediction, target).mean() > 0.6  # of nothing at all
    found = metrics.encode_continuous(
        {"a": X}, Y, rate=rate, windows=((0, 0),), components=None, block=15, folds=5,
        alphas=[1.0], guard=2.0,
    )  # fmt: skip
    assert found["r"].mean() < 0.1


def noise(rng, shape, samples):
    """First-order autoregressive noise with a time constant in samples."""
    if samples == 0:
        return rng.standard_normal(shape)
    rho = np.exp(-1 / samples)
    steps = rng.standard_normal((shape[0] + 200, *shape[1:])) * np.sqrt(1 - rho**2)
    return lfilter([1], [1, -rho], steps, axis=0)[200:]

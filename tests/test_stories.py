"""What stories in fMRI need: filters, the haemodynamic response, repetitions, LeBel's protocol."""

import math

import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve

from dynamics import metrics
from dynamics.metrics import blocks, haemodynamics
from dynamics.metrics.lebel import lebel_ridge


def ar1(rng, shape, rho):
    out = rng.standard_normal(shape)
    for i in range(1, len(out)):
        out[i] = rho * out[i - 1] + np.sqrt(1 - rho**2) * out[i]
    return out


def test_lanczos_is_the_published_filter_and_keeps_what_is_slow():
    rng = np.random.default_rng(0)
    times, samples = 0.05 + 0.1 * np.arange(400), 1.0 + 2.0 * np.arange(20)
    X = rng.standard_normal((400, 3))
    expected = np.zeros((20, 3))
    for i, s in enumerate(samples):
        for t, x in zip(times, X):
            u = (s - t) / 2
            if abs(u) <= 3:
                weight = 1.0 if u == 0 else (
                    3 * np.sin(np.pi * u) * np.sin(np.pi * u / 3) / (np.pi * u) ** 2)  # fmt: skip
                expected[i] += weight * x
    found = metrics.lanczos(X, times, samples, unit=False)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    slow = np.sin(2 * np.pi * times / 25)[:, None]
    kept = metrics.lanczos(slow, times, samples)
    np.testing.assert_allclose(kept[3:-3, 0], np.sin(2 * np.pi * samples[3:-3] / 25), atol=0.02)
    fast = metrics.lanczos(np.sin(2 * np.pi * times)[:, None], times, samples)
    assert abs(fast[3:-3]).max() < 0.02  # four times the Nyquist rate of the samples
    np.testing.assert_allclose(metrics.lanczos(np.ones((400, 1)), times, samples), 1.0)
    assert isinstance(metrics.lanczos(torch.as_tensor(X), times, samples), torch.Tensor)
    with pytest.raises(ValueError, match="not evenly spaced"):
        metrics.lanczos(X, times, np.array([0.0, 1.0, 3.0]))
    with pytest.raises(ValueError, match="give one each"):
        metrics.lanczos(X, times[1:], samples)


def test_the_canonical_response_has_its_known_landmarks():
    seconds = np.arange(0, 32, 0.01)
    response = haemodynamics.canonical_response(seconds)
    assert response.max() == pytest.approx(1, abs=1e-6) and response[0] == 0
    assert seconds[response.argmax()] == pytest.approx(5.0, abs=0.02)  # mode of a gamma of shape 6
    assert seconds[response.argmin()] == pytest.approx(15.75, abs=0.1)
    for t in (2.0, 7.5, 15.7, 25.0):  # t^5 e^-t / 5! less a sixth of t^15 e^-t / 15!
        plain, top = (
            math.exp(-s) * (s**5 / math.factorial(5) - s**15 / math.factorial(15) / 6)
            for s in (t, 5.0)
        )
        found = haemodynamics.canonical_response(np.array([t]))[0]
        assert found == pytest.approx(plain / top, abs=1e-4)  # the peak is that of a grid
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 2))
    kernel = haemodynamics.canonical_response(np.arange(0, 32, 0.5))
    kernel /= kernel.sum()
    expected = fftconvolve(X, kernel[:, None], axes=0)[:200]
    np.testing.assert_allclose(metrics.convolved(X, 2.0), expected, atol=1e-12)
    with pytest.raises(ValueError, match="cannot hold"):
        metrics.convolved(X, 0.1)


def test_signal_power_is_that_of_what_was_planted():
    rng = np.random.default_rng(0)
    t, R = 20_000, 4
    signal = rng.standard_normal((t, 3, 1)) * np.array([1.0, 0.5, 0.0])[:, None]
    Y = signal + rng.standard_normal((t, 3, R))
    found = metrics.signal_power(Y)
    np.testing.assert_allclose(found["signal_power"], [1, 0.25, 0], atol=0.03)
    np.testing.assert_allclose(found["total_power"], [2, 1.25, 1], atol=0.05)
    # The correlation of the mean response with the signal itself, which nothing can exceed.
    reached = [np.corrcoef(Y[:, j].mean(1), signal[:, j, 0])[0, 1] for j in range(2)]
    np.testing.assert_allclose(found["ceiling"][:2], reached, atol=0.01)
    plain = (Y.sum(2).var(0) - Y.var(0).sum(1)) / (R * (R - 1))
    np.testing.assert_allclose(found["signal_power"], plain, rtol=1e-10)
    silent = metrics.signal_power(rng.standard_normal((50, 40, 2)))
    assert np.isnan(silent["ceiling"][silent["signal_power"] <= 0]).all()
    assert np.isnan(metrics.signal_power(np.ones((10, 1, 2)))["ceiling"]).all()
    holed = Y.copy()
    holed[:100, 1, 2] = np.nan
    part = metrics.signal_power(Y[100:])["ceiling"][1]
    assert metrics.signal_power(holed)["ceiling"][1] == pytest.approx(part, rel=1e-10)
    with pytest.raises(ValueError, match="at least 2 repetitions"):
        metrics.signal_power(Y[:, :, 0])


def transcribed(X, Y, test, alphas, draws, chunk, chunks, seed):
    """LeBel's words in NumPy, by singular values."""

    def z(a):
        return (a - a.mean(0)) / a.std(0)

    def features(stories):
        stacked = np.vstack([z(X[s][10:-5]) for s in stories])
        return np.hstack(
            [np.vstack([np.zeros((d, stacked.shape[1])), stacked[:-d]]) for d in (1, 2, 3, 4)]
        )

    train = [s for s in range(len(X)) if s not in test]
    F, P = features(train), features(test)
    R, T = (np.vstack([z(Y[s]) for s in stories]) for stories in (train, test))

    def weights(A, B, alpha):
        U, S, Vh = np.linalg.svd(A, full_matrices=False)
        return Vh.T @ ((S / (S**2 + alpha**2))[:, None] * (U.T @ B))

    rng = np.random.default_rng(seed)
    scores = np.zeros((len(alphas), R.shape[1]))
    for _ in range(draws):
        out = np.sort(rng.permutation(len(F) // chunk)[:chunks])
        held = np.zeros(len(F), bool)
        for piece in out:
            held[piece * chunk : (piece + 1) * chunk] = True
        for a, alpha in enumerate(alphas):
            p = F[held] @ weights(F[~held], R[~held], alpha)
            scores[a] += [np.corrcoef(x, y)[0, 1] for x, y in zip(p.T, R[held].T)]
    best = alphas[scores.argmax(0)]
    p = np.column_stack([P @ weights(F, R[:, [j]], alpha)[:, 0] for j, alpha in enumerate(best)])
    return [np.corrcoef(x, y)[0, 1] for x, y in zip(p.T, T.T)], best, scores / draws


def simulated_stories(lengths=(90, 70, 110, 80, 60), p=6, v=5, seed=0):
    rng = np.random.default_rng(seed)
    X = [ar1(rng, (t, p), 0.5) for t in lengths]
    W = rng.standard_normal((4, p, v)) * np.linspace(0, 1, v)
    Y = []
    for x in X:
        clean = sum(np.vstack([np.zeros((d, p)), x[:-d]]) @ w for d, w in zip((1, 2, 3, 4), W))
        Y.append((clean + 3 * ar1(rng, clean.shape, 0.3))[10:-5])
    return X, Y


def test_lebel_is_a_plain_transcription_of_its_words():
    X, Y = simulated_stories()
    options = {"draws": 5, "chunk": 10, "chunks": 8, "seed": 3}
    alphas = np.logspace(1, 3, 10)
    found = lebel_ridge(X, Y, test=[4], **options)
    r, best, scores = transcribed(X, Y, [4], alphas, **options)
    np.testing.assert_allclose(found["r"], r, atol=1e-8)
    np.testing.assert_allclose(found["alpha"], best)
    np.testing.assert_allclose(found["draw_score"], scores, atol=1e-8)
    assert found["r"][-1] > 0.5 and found["prediction"].shape == (45, 5)
    assert lebel_ridge(X, Y, test=[4], choose="r2", **options)["r"][-1] > 0.5


@pytest.mark.parametrize(
    "change, message",
    [
        ({"test": []}, "some of them to train on and some to test"),
        ({"test": [7]}, "some to test"),
        ({"test": range(5)}, "some of them to train on"),
        ({"chunks": 40}, "hold out fewer"),
        ({"choose": "p"}, "use 'r' or 'r2'"),
    ],
)
def test_lebel_says_in_a_sentence_what_does_not_fit(change, message):
    X, Y = simulated_stories()
    options = {"test": [4], "draws": 2, "chunk": 10, "chunks": 8} | change
    with pytest.raises(ValueError, match=message):
        lebel_ridge(X, Y, **options)
    with pytest.raises(ValueError, match="story 1 has 70 volumes of activations and 54"):
        lebel_ridge(X, [Y[0], Y[1][1:], *Y[2:]], test=[4])


@pytest.mark.parametrize("tau", [0.5, 2.0])
def test_responses_are_apart_when_their_autocorrelation_is_small(tau):
    rng, rate = np.random.default_rng(0), 20.0
    rho = np.exp(-1 / (tau * rate))
    Y = [ar1(rng, (6000, 30), rho) for _ in range(3)]
    assert blocks.time_apart(Y, rate) == pytest.approx(-tau * np.log(0.1), rel=0.1)
    white = [rng.standard_normal((500, 5))]
    white[0][:50, 2] = np.nan
    assert blocks.time_apart(white, rate) == 1 / rate
    assert blocks.time_apart([np.zeros((10, 2))], rate) == 0


def test_blocks_are_shared_out_evenly_and_keep_their_distance():
    split = blocks.by_block([300, 97, 640], 30, folds=5, reach=4, seed=1)
    fold = np.concatenate(split.folds)
    counts = np.bincount(fold)
    assert counts.max() - counts.min() <= 30 + 29
    for labels, near, unit in zip(*split):
        changes = np.flatnonzero(np.diff(unit)) + 1
        assert set(np.diff([0, *changes])) <= {30}
        for i in range(len(labels)):
            around = labels[max(i - 4, 0) : i + 5]
            assert set(np.flatnonzero(near[i])) == set(around) - {labels[i]}
    assert split.units[2][-1] == 10 + 3 + 21 - 1  # what is left joins the last block


def test_shifts_keep_a_response_together_and_away_from_where_it_was():
    orders = blocks.circular_shifts([100, 40, 7], 50, reach=10, seed=0)
    for t, each in zip((100, 40, 7), orders):
        assert each.shape == (50, t) and (np.sort(each, 1) == np.arange(t)).all()
        assert (np.diff(each, axis=1) % t == 1).all()
        by = (-each[:, 0]) % t
        least = min(11, t // 2)
        assert by.min() >= least and by.max() <= max(t - least, least)
    assert len({tuple(row) for row in orders[0]}) > 20
    with pytest.raises(ValueError, match="use a shorter guard"):
        blocks.circular_shifts([20, 10], 5, reach=10)

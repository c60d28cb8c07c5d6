"""Continuous speech that comes with the package: an audiobook, and a simulated listener."""

from __future__ import annotations

import numpy as np
import pytest

from dynamics import brains, sounds
from dynamics.reference import stories
from dynamics.sounds import StimulusSet

SECONDS, RATE = 60, 8000


@pytest.fixture(scope="module")
def told():
    """Four stories of a minute: noise in bands whose level wanders."""

    def wave(seed):
        rng = np.random.default_rng(seed)
        level = np.repeat(np.exp(1.5 * rng.standard_normal(SECONDS * 10)), RATE // 10)
        noise = rng.standard_normal(SECONDS * RATE)
        colour = np.repeat(rng.uniform(0, 0.95, SECONDS), RATE)
        for n in range(1, 4):
            noise[n:] += colour[n:] ** n * noise[:-n]
        return (0.02 * level * noise).astype("float32"), RATE

    return StimulusSet(
        name="told",
        names=tuple(f"s{n}" for n in range(4)),
        categories=("story",) * 4,
        durations=np.full(4, float(SECONDS)),
        sources=tuple(lambda n=n: wave(n) for n in range(4)),
    )


def test_the_audiobook_is_a_stimulus_set_and_a_target_of_unequal_length(data_root):
    stimuli, target = sounds.load("naplib-speech"), brains.load("naplib-speech")
    assert stimuli.names == tuple(target["stimulus"].to_numpy()) and len(stimuli) == 6
    response = target["response"]
    lengths = np.isfinite(response.to_numpy()[..., 0]).sum(1)
    # The recordings end with their sounds, to a few samples.
    np.testing.assert_allclose(lengths / 100, stimuli.durations, atol=0.02)
    with np.load(data_root / "naplib-speech" / "responses.npz") as file:
        own = file["stim03"]
    np.testing.assert_array_equal(response.sel(stimulus="stim03")[: len(own)], own)
    np.testing.assert_allclose(target["time"][:2], [0.005, 0.015])
    assert target.attrs["simulated"] == 1 and "naplib" in target.attrs["citation"].lower()


def test_the_audiobook_cannot_be_downloaded_and_says_where_it_is_from(tmp_path, monkeypatch):
    monkeypatch.setenv("DYNAMICS_DATA", str(tmp_path))
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"naplib.* DYNAMICS_DATA") as error:
        sounds.load("naplib-speech")
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_stories_are_five_minutes_in_five_languages(data_root):
    stimuli = sounds.load("stories")
    assert stimuli.names == tuple(f"story{n}" for n in range(1, 7))
    np.testing.assert_allclose(stimuli.durations, 300, atol=0.5)


def test_a_listener_has_volumes_repetitions_regions_and_a_seed(told):
    target = brains.load("simulated-stories", stimuli=told, neuroids=30)
    assert dict(target["response"].sizes) == {
        "stimulus": 4, "time": 30, "neuroid": 30, "repetition": 2,
    }  # fmt: skip
    values = target["response"].to_numpy()
    assert np.isfinite(values[..., 0]).all() and np.isfinite(values[0]).all()
    assert np.isnan(values[1:, ..., 1]).all()
    np.testing.assert_allclose(target["time"][:2], [1.0, 3.0])
    assert target["region"].to_numpy()[:3].tolist() == list(stories.REGIONS)
    again = brains.load("simulated-stories", stimuli=told, neuroids=30)
    np.testing.assert_array_equal(values, again["response"])
    other = brains.load("simulated-stories", stimuli=told, neuroids=30, seed=1)
    assert not np.array_equal(values, other["response"])


def test_the_noise_is_autoregressive_and_of_its_size(told):
    made = [brains.load("simulated-stories", stimuli=told, neuroids=300, repetitions=2,
                        noise_seconds=seconds) for seconds in (3.0, 0.0)]  # fmt: skip
    for target, carried in zip(made, (np.exp(-2 / 3.0), 0.0)):
        first = target["response"].to_numpy()[0]
        noise = (first[..., 0] - first[..., 1]) / np.sqrt(2) / target["noise"].to_numpy()
        # 30 volumes x 300 voxels, correlated: two hundredths.
        assert abs(noise.var() - 1) < 0.05
        assert abs((noise[1:] * noise[:-1]).mean() - carried) < 0.05


def test_a_region_is_told_by_its_own_features_alone(told):
    target = brains.load("simulated-stories", stimuli=told, neuroids=60, repetitions=1)
    drives = stories.driven(stories.courses(told), [30] * 4, 2.0)
    Y = target["response"].to_numpy().reshape(-1, 60)
    for place, region in enumerate(stories.REGIONS):
        X = np.concatenate(drives[region])
        X = np.column_stack([X, np.ones(len(X))])
        predicted = X @ np.linalg.lstsq(X, Y, rcond=None)[0]
        share = 1 - ((Y - predicted) ** 2).sum(0) / ((Y - Y.mean(0)) ** 2).sum(0)
        own = np.arange(60) % 3 == place
        expected = 1 / (1 + target["noise"].to_numpy()[own] ** 2)
        # Six of 120 rows fit noise, which is autocorrelated.
        assert abs((share[own] - expected).mean()) < 0.12
        assert share[~own].mean() < 0.2


@pytest.mark.parametrize(
    "arguments, message",
    [({"neuroids": 0}, "needs voxels"), ({"tr": 0.1}, "TR of 0.4 s"), ({"tr": 7.0}, "ten volumes")],
)
def test_what_cannot_be_simulated_is_told(told, arguments, message):
    with pytest.raises(ValueError, match=message):
        brains.load("simulated-stories", stimuli=told, **arguments)

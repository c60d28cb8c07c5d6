import numpy as np
import pytest
import torch

from dynamics import metrics, sounds, store
from dynamics.analysis.scoring import score_step
from dynamics.brains.targets import Target
from dynamics.config import validate
from dynamics.extraction import crawl, extract, poolings
from dynamics.models import encodecmae
from dynamics.progress import silent

SIZES = {"layers": 2, "width": 16, "heads": 2, "feed_forward": 24, "mels": 32}


class Frames:
    """A model whose layers give a function of time at frames of several kinds."""

    sample_rate, batchable, why_not_batchable, batch_equal_lengths = 1000, True, "", True

    def __init__(self, function, **frame_times):
        self.function, self.frame_times = function, frame_times
        self.layers = tuple(frame_times)

    def frames(self, lengths):
        seconds = lengths / self.sample_rate
        return {
            layer: ((seconds - first) / spacing + 0.5 + 1e-6).to(torch.int64).clamp(min=1)
            for layer, (first, spacing) in self.frame_times.items()
        }

    def prepare(self, waveforms, lengths=None):
        return (waveforms,)

    def forward_prepared(self, waveforms):
        batch, samples = waveforms.shape
        counts = self.frames(torch.tensor([samples]))
        out = {}
        for layer, (first, spacing) in self.frame_times.items():
            times = first + spacing * torch.arange(int(counts[layer]), dtype=torch.float64)
            out[layer] = self.function(times).expand(batch, -1).unsqueeze(-1).float()
        return out


def stimuli_of(*seconds):
    return sounds.StimulusSet(
        name="test",
        names=tuple(f"s{n}" for n in range(len(seconds))),
        categories=("x",) * len(seconds),
        durations=np.array(seconds),
        sources=tuple(lambda s=s: (np.zeros(round(1000 * s), "float32"), 1000) for s in seconds),
    )


def pooled(model, stimuli, name, *, batch_size=4, **arguments):
    pooling = poolings.make(name, **arguments)
    batches = extract.batches(model, stimuli, batch_size=batch_size)
    times = pooling.times(stimuli.durations)
    return times, extract.extract(model, batches, pooling=pooling)


def test_windows_are_means_of_their_frames_and_a_last_one_counts_when_half_full():
    model, stimuli = Frames(lambda t: t, a=(0.05, 0.1)), stimuli_of(2.0, 1.7, 1.2, 0.3)
    times, found = pooled(model, stimuli, "windows", seconds=0.5)
    np.testing.assert_allclose(times, [0.25, 0.75, 1.25, 1.75])
    nan = np.nan
    expected = [
        [0.25, 0.75, 1.25, 1.75],
        [0.25, 0.75, 1.25, nan],  # 0.2 s of the fourth window
        [0.25, 0.75, nan, nan],
        [0.15, nan, nan, nan],  # 0.3 s of the first: the mean of its three frames
    ]
    # float32 activations
    np.testing.assert_allclose(found["a"][..., 0], expected, rtol=1e-6)
    times, found = pooled(model, stimuli_of(1.25), "windows", seconds=0.5)
    assert len(times) == 3  # exactly half full


def test_a_window_across_a_frame_weighs_it_by_its_overlap():
    model = Frames(lambda t: t * 10, a=(0.05, 0.1))  # 0.5, 1.5, 2.5, ...
    _, found = pooled(model, stimuli_of(0.5), "windows", seconds=0.25)
    first = (0.1 * 0.5 + 0.1 * 1.5 + 0.05 * 2.5) / 0.25
    second = (0.05 * 2.5 + 0.1 * 3.5 + 0.1 * 4.5) / 0.25
    np.testing.assert_allclose(found["a"][0, :, 0], [first, second], rtol=1e-6)


@pytest.mark.parametrize("rate", [4.0, 10.0, 12.5, 16.0, 50.0, 100.0, 1000.0])
def test_a_ramp_keeps_its_times_at_any_rate_in_every_layer(rate):
    model = Frames(lambda t: t, even=(0.01, 0.02), odd=(0.0133, 0.02656), late=(0.0875, 0.1))
    times, found = pooled(model, stimuli_of(2.0), "time", rate=rate)
    np.testing.assert_allclose(times, (np.arange(round(2 * rate)) + 0.5) / rate)
    for layer, (_, spacing) in model.frame_times.items():
        inner = (times > 0.2) & (times < 1.8)
        width = max(spacing, 1 / rate)
        multiple = abs(width / spacing - round(width / spacing)) < 1e-9
        # the stated bound: an eighth of a frame over the box's width in frames; exact at multiples
        bound = 1e-6 if multiple else spacing**2 / (8 * width) + 1e-6
        assert np.abs(found[layer][0, inner, 0] - times[inner]).max() <= bound


def test_frames_at_the_wanted_rate_and_phase_are_left_as_they_are():
    rng = torch.Generator().manual_seed(0)
    values = torch.randn(100, generator=rng, dtype=torch.float64)
    model = Frames(lambda t: values[: len(t)], a=(0.01, 0.02))
    _, found = pooled(model, stimuli_of(2.0), "time", rate=50)
    np.testing.assert_array_equal(found["a"][0, :, 0], values.float().numpy())


def test_faster_than_the_frames_it_is_linear_interpolation():
    model = Frames(lambda t: torch.sin(7 * t), a=(0.03, 0.04))
    times, found = pooled(model, stimuli_of(1.0), "time", rate=200)
    centres = 0.03 + 0.04 * np.arange(24)
    expected = np.interp(times, centres, np.sin(7 * centres))  # which holds the ends as well
    np.testing.assert_allclose(found["a"][0, :, 0], expected, atol=1e-6)  # float32


def test_a_pulse_arrives_at_its_own_time_and_nowhere_else():
    for when in (0.105, 0.505, 1.305):
        model = Frames(lambda t, when=when: (abs(t - when) < 0.004).double(), a=(0.005, 0.01))
        times, found = pooled(model, stimuli_of(2.0), "time", rate=20)
        values = found["a"][0, :, 0]
        assert abs(times[values.argmax()] - when) <= 0.025
        # one frame of 10 ms in one sample of 50 ms
        np.testing.assert_allclose(values.max(), 0.2, rtol=1e-6)
        assert (values > 0).sum() == 1


def test_a_sine_keeps_its_phase_below_half_the_rate_and_fades_above():
    spacing, rate = 0.005, 20.0
    frames = round(1 / rate / spacing)
    for frequency in (1.0, 3.0, 7.0, 18.0):
        model = Frames(lambda t, f=frequency: torch.sin(2 * np.pi * f * t), a=(0.0025, spacing))
        times, found = pooled(model, stimuli_of(2.0), "time", rate=rate)
        # the mean of K samples of a sine has its phase and Dirichlet's amplitude
        half = np.pi * frequency * spacing
        gain = np.sin(frames * half) / (frames * np.sin(half))
        expected = gain * np.sin(2 * np.pi * frequency * times)
        np.testing.assert_allclose(found["a"][0, :, 0], expected, atol=1e-6)  # float32
    assert gain < 0.12  # the last one is above half the rate


def test_a_layer_without_time_is_constant():
    model = Frames(lambda t: t, whole=(0.5, 1.0))
    _, found = pooled(model, stimuli_of(0.8), "time", rate=10)
    np.testing.assert_allclose(found["whole"][0, :, 0], 0.5)


@pytest.mark.parametrize(
    ("name", "arguments"), [("windows", {"seconds": 0.25}), ("time", {"rate": 50})]
)
def test_alone_and_in_a_batch_agree_in_time(name, arguments):
    rng = np.random.default_rng(0)
    waves = [rng.standard_normal(n).astype("float32") * 0.1 for n in (9000, 24000, 17000)]
    stimuli = sounds.StimulusSet(
        name="noise",
        names=("a", "b", "c"),
        categories=("x",) * 3,
        durations=np.array([len(w) / 24000 for w in waves]),
        sources=tuple(lambda w=w: (w, 24000) for w in waves),
    )
    model = encodecmae.build(None, **SIZES)
    times, together = pooled(model, stimuli, name, **arguments)
    _, alone = pooled(model, stimuli, name, batch_size=1, **arguments)
    for layer in model.layers:
        assert together[layer].shape == (3, len(times), 16)
        # float32 in other batch shapes; NaN at the same places
        np.testing.assert_allclose(together[layer], alone[layer], atol=1e-5)
        ended = np.isnan(together[layer]).all(axis=2)
        np.testing.assert_array_equal(ended[0], times > 9000 / 24000 + 1e-6)
        assert not ended[1].any()


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("median", {}, "last, mean, mean\\+deviation, time, windows"),
        ("windows", {}, "needs the argument `seconds`"),
        ("mean", {"rate": 3}, "takes no arguments, not 'rate'"),
        ("time", {"rate": 0}, "`rate` of a pooling is 0"),
        ("time", {"rate": "fast"}, "`rate` of a pooling is 'fast'"),
        ("windows", {"seconds": float("nan")}, "give a positive number"),
    ],
)
def test_wrong_arguments_say_what_is_taken(name, arguments, text):
    with pytest.raises(ValueError, match=text):
        poolings.make(name, **arguments)


def test_the_baseline_has_the_time_axis_of_the_store():
    stimuli = sounds.load("synthetic", per_kind=1, seconds=0.4)
    pooling = poolings.make("time", rate=25)
    found = extract.features("spectrotemporal", stimuli, pooling=pooling)
    count = len(pooling.times(stimuli.durations))
    assert found["cochleagram"].shape[:2] == (len(stimuli), count)
    assert extract.features("spectrotemporal", stimuli)["cochleagram"].ndim == 2


def test_a_store_keeps_time_and_metrics_without_time_see_its_mean(tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for step in (0, 5):
        state = encodecmae.build(None, **SIZES, seed=step).state_dict()
        torch.save({"state_dict": state, "global_step": step}, folder / f"step={step}.ckpt")
    sweep = validate(
        {
            "run": "timed",
            "store": str(tmp_path / "timed.zarr"),
            "checkpoints": str(folder),
            "model": {"name": "encodecmae", "arguments": {"heads": 2}},
            "stimuli": {"name": "synthetic", "arguments": {"per_kind": 1, "seconds": 0.4}},
            "targets": ["simulated"],
            "pooling": {"name": "windows", "arguments": {"seconds": 0.1}},
        },
        origin="test",
    )
    assert crawl.crawl(sweep, advance=silent)["done"] == 2
    stimuli = sounds.load("synthetic", per_kind=1, seconds=0.4)
    model = encodecmae.build(None, **SIZES, seed=5)
    times, expected = pooled(model, stimuli, "windows", seconds=0.1)
    tree = store.open(sweep.store)
    array = tree["activations/layer1"].to_dataset()["activation"]
    assert array.dims == ("step", "stimulus", "time", "feature")
    np.testing.assert_allclose(array["time"], times)
    assert array["time"].attrs["units"] == "s"
    np.testing.assert_allclose(store.read_times(sweep.store), times)
    found = store.read_activations(sweep.store, 5)["layer1"]
    np.testing.assert_allclose(found, expected["layer1"], atol=1e-5)
    assert store.verify(sweep.store) == {}
    assert crawl.crawl(sweep, advance=silent)["new"] == 0

    rng = np.random.default_rng(0)
    n = len(stimuli)
    target = Target(np.arange(n), rng.standard_normal((n, 3)), np.arange(n) % 3, np.full(3, "a"))
    scored = score_step(str(sweep.store), 5, target, "cka", {})["score"][1]
    mean = np.nanmean(expected["layer1"], axis=1).astype(float)
    # float32 activations, another batch shape
    np.testing.assert_allclose(scored[1, 0], metrics.cka(mean, target.response), rtol=1e-4)

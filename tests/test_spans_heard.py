"""What is kept of a layer over a part of a recording that the network hears whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_extract import MODEL
from tiny_run import sweep_in, sweep_of

from dynamics import brains, probes, store
from dynamics.analysis import analyze
from dynamics.brains import neighbours
from dynamics.emergence.resampling import Scheme
from dynamics.extraction import crawl, extract, poolings
from dynamics.extraction.spans import Span, overlaps
from dynamics.models import encodecmae
from dynamics.probes import resampling
from dynamics.progress import silent
from dynamics.sounds import StimulusSet, load
from dynamics.sounds.events import Event
from dynamics.sounds.within import parts

RATE, HOP = 1000, 100
POOLINGS = {"mean": {}, "mean+deviation": {}, "last": {}, "windows": {"seconds": 0.25},
            "time": {"rate": 25}}  # fmt: skip


class Frames:
    """A network that sees one frame of 0.1 s at a time: its mean, and when it is."""

    sample_rate, layers, batchable, why_not_batchable = RATE, ("level", "ramp"), True, ""
    batch_equal_lengths = True
    frame_times = dict.fromkeys(("level", "ramp"), (HOP / RATE / 2, HOP / RATE))

    def frames(self, lengths):
        return dict.fromkeys(self.layers, lengths // HOP)

    def prepare(self, waveforms, lengths=None):
        n = waveforms.shape[1] // HOP
        return (waveforms[:, : n * HOP].reshape(len(waveforms), n, HOP),)

    def forward_prepared(self, frames):
        times = (torch.arange(frames.shape[1]) + 0.5) * HOP / RATE
        return {"level": frames.mean(-1, keepdim=True),
                "ramp": times.expand(len(frames), -1).unsqueeze(-1)}  # fmt: skip


def smooth(seconds, seed):
    """A slow curve, of which a tenth of a second changes little."""
    times = np.arange(round(seconds * RATE)) / RATE
    phases = np.random.default_rng(seed).uniform(0, 6, 4)
    curve = sum(np.sin(2 * np.pi * f * times + p) for f, p in zip((0.1, 0.23, 0.31, 0.4), phases))
    return curve.astype("float32")


def recordings(*seconds, wave=smooth, rate=RATE):
    return StimulusSet(
        name="recordings",
        names=tuple(f"r{n}" for n in range(len(seconds))),
        categories=("x",) * len(seconds),
        durations=np.array(seconds, float),
        sources=tuple(lambda n=n, s=s: (wave(s, n), rate) for n, s in enumerate(seconds)),
    )


def spans(of, *places, **more):
    events = [Event(row, onset, duration, f"w{n % 3}", {"word": f"w{n % 3}", "number": str(n)})
              for n, (row, onset, duration) in enumerate(places)]  # fmt: skip
    return StimulusSet(name="spans", **parts(of, events, **more))


def heard(model, stimuli, pooling, **more):
    made = poolings.make(pooling, **POOLINGS[pooling])
    return extract.extract(model, extract.batches(model, stimuli, **more), pooling=made)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_part_that_is_the_whole_is_the_recording(pooling):
    of = recordings(2.3, 5.0, 3.21)
    whole = spans(of, (0, 0, 2.3), (1, 0, 5.0), (2, 0, 3.21))
    assert whole.digest != of.digest
    for model in (Frames(), encodecmae.build(None, **MODEL)):
        one, other = heard(model, of, pooling), heard(model, whole, pooling)
        for layer in one:
            np.testing.assert_allclose(one[layer], other[layer], atol=2e-6)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_without_context_a_part_is_what_is_cut_out(pooling):
    of = recordings(4.0, 6.0)
    on_grid = spans(of, (1, 1.0, 2.0), (0, 0.5, 0.4), (1, 3.2, 2.8), (0, 0.0, 0.3))
    cut = StimulusSet("cut", on_grid.names, on_grid.categories, on_grid.durations, on_grid.sources)
    one, other = heard(Frames(), on_grid, pooling), heard(Frames(), cut, pooling)
    np.testing.assert_allclose(one["level"], other["level"], atol=1e-6)
    between = spans(of, (1, 1.03, 2.01), (0, 0.57, 0.44))
    cut = StimulusSet("cut", between.names, between.categories, between.durations, between.sources)
    one, other = heard(Frames(), between, pooling), heard(Frames(), cut, pooling)
    change = max(np.abs(wave[HOP:] - wave[:-HOP]).max() for wave in of.waveforms(RATE))  # a frame's
    np.testing.assert_allclose(one["level"], other["level"], atol=float(change))


def test_the_mean_of_a_ramp_over_a_part_is_its_middle_and_frames_count_by_overlap():
    rng = np.random.default_rng(0)
    places = [(0, float(t), float(d)) for t, d in rng.uniform((0, 0.1), (7, 2.9), (40, 2))]
    found = heard(Frames(), spans(recordings(10.0), *places), "mean")["ramp"][:, 0]
    # Half a frame of a step function about its middle, as a part of at least one frame.
    np.testing.assert_allclose(found, [t + d / 2 for _, t, d in places], atol=0.1 / 8 + 1e-6)
    for t, d in ((0.13, 0.2), (0.5, 0.13), (7.77, 2.0)):
        edges = np.arange(101) * 0.1
        own = np.clip(np.minimum(edges[1:], t + d) - np.maximum(edges[:-1], t), 0, None) / 0.1
        weights = overlaps(Span(0, t, d, False, False), (0.05, 0.1), 100)
        np.testing.assert_allclose(weights, own, atol=1e-9)


def test_deviation_and_last_frame_of_a_part():
    stimuli = spans(recordings(10.0), (0, 2.0, 1.0), (0, 2.04, 1.0), (0, 9.5, 0.5))
    values = np.arange(2.05, 3.0, 0.1)
    found = heard(Frames(), stimuli, "mean+deviation")["ramp"]
    np.testing.assert_allclose(found[0], [values.mean(), values.std()], rtol=1e-5)
    weights = np.array([0.6, *[1] * 9, 0.4])
    ramp = 2.05 + 0.1 * np.arange(11)
    mean = np.average(ramp, weights=weights)
    expected = [mean, np.sqrt(np.average((ramp - mean) ** 2, weights=weights))]
    np.testing.assert_allclose(found[1], expected, rtol=1e-5)
    last = heard(Frames(), stimuli, "last")["ramp"][:, 0]
    np.testing.assert_allclose(last, [2.95, 2.95, 9.95], rtol=1e-6)


def test_a_part_shorter_than_a_frame_takes_the_frame_at_its_centre():
    stimuli = spans(recordings(3.0), (0, 1.06, 0.05), (0, 0.0, 0.01), (0, 2.995, 0.005))
    for pooling in ("mean", "last"):
        found = heard(Frames(), stimuli, pooling)["ramp"][:, 0]
        np.testing.assert_allclose(found, [1.05, 0.05, 2.95], rtol=1e-6)
    deviation = heard(Frames(), stimuli, "mean+deviation")["ramp"][:, 1]
    np.testing.assert_array_equal(deviation, 0.0)
    timed = heard(Frames(), stimuli, "time")["ramp"]
    assert timed.shape == (3, 1, 1) and np.isfinite(timed).all()


def test_a_part_has_its_own_times_and_nothing_past_its_end():
    stimuli = spans(recordings(10.0), (0, 2.0, 1.0), (0, 5.32, 2.0))
    pooling = poolings.make("time", rate=10)
    found = extract.extract(Frames(), extract.batches(Frames(), stimuli), pooling=pooling)["ramp"]
    times = pooling.times(stimuli.durations)
    np.testing.assert_allclose(found[0, :10, 0], 2.0 + times[:10], atol=1e-6)
    np.testing.assert_allclose(found[1, :, 0], 5.32 + times, atol=0.1 / 8)
    assert np.isnan(found[0, 10:]).all() and found.shape == (2, 20, 1)


def test_the_network_hears_what_came_before():
    model = encodecmae.build(None, **MODEL)
    noise = lambda s, n: np.random.default_rng(n).standard_normal(round(24000 * s))  # noqa: E731
    of = recordings(2.0, 2.0, wave=noise, rate=24000)
    with_context = spans(of, (0, 1.0, 0.5), (1, 1.0, 0.5))
    alone = StimulusSet("cut", with_context.names, with_context.categories,
                        with_context.durations, with_context.sources)  # fmt: skip
    one, other = heard(model, with_context, "mean"), heard(model, alone, "mean")
    assert np.abs(one["layer1"] - other["layer1"]).max() > 0.01
    frames = model(torch.tensor(np.stack(of.waveforms(24000))))["layer1"]
    first, spacing = model.frame_times["layer1"]
    inside = np.arange(frames.shape[1]) * spacing + first
    by_hand = frames[:, (inside > 1.0) & (inside < 1.5)].mean(1).detach().numpy()
    # Whole frames in place of parts of two.
    assert np.abs(one["layer1"] - by_hand).max() < 0.1 * np.abs(by_hand).max()


def test_batches_and_other_parts_change_nothing():
    model = encodecmae.build(None, **MODEL)
    of = recordings(2.0, 1.1, 3.0, wave=lambda s, n: smooth(s * 24, n), rate=24000)
    places = [(0, 0.3, 0.5), (1, 0.2, 0.9), (2, 1.5, 1.0), (2, 0.0, 3.0), (0, 0.3, 0.01)]
    many = heard(model, spans(of, *places), "mean+deviation", batch_size=3)
    one = heard(model, spans(of, *places), "mean+deviation", batch_size=1, keep_bytes=0)
    some = heard(model, spans(of, *places).subset([2, 4]), "mean+deviation")
    for layer in many:
        np.testing.assert_allclose(many[layer], one[layer], atol=1e-5)
        np.testing.assert_allclose(many[layer][[2, 4]], some[layer], atol=1e-5)


@pytest.fixture
def words(tmp_path):
    """Six recordings of three words, each said four times by one of two."""
    import soundfile

    rng, rate = np.random.default_rng(0), 16000
    (tmp_path / "said").mkdir()
    lines = ["onset\tduration\tword\tspeaker\tfile"]
    for take in range(6):
        wave = 0.01 * rng.standard_normal(rate * 4)
        for place in range(12):
            word, t = place % 3, np.arange(rate // 4) / rate
            tone = np.sin(2 * np.pi * (300, 900, 2700)[word] * t + rng.uniform(0, 6))
            wave[place * rate // 3 :][: rate // 4] += 0.2 * tone
            lines.append(f"{place / 3:.6f}\t0.25\t{'abc'[word]}\t{'xy'[take % 2]}\tt{take}")
        soundfile.write(tmp_path / "said" / f"t{take}.wav", wave, rate)
    (tmp_path / "said" / "events.tsv").write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.mark.slow
def test_words_are_crawled_with_their_labels_compared_and_probed(words):
    stimuli = {"name": str(words / "said"), "arguments": {"events": True, "category": "word"}}
    content = sweep_in(words, [0, 10], stimuli=stimuli, targets=[],
                       probes=[{"name": "stimuli-label", "arguments": {"label": "word"}},
                               {"name": "stimuli-label", "label": "who",
                                "arguments": {"label": "speaker"}}])  # fmt: skip
    sweep = sweep_of(content)
    assert crawl.crawl(sweep, advance=silent) == {"done": 2, "failed": 0, "new": 2}
    found = store.open(sweep.store)["activations"].to_dataset()
    assert found["recording"].dims == ("stimulus",)
    assert found["recording"].to_numpy()[[0, -1]].tolist() == ["t0", "t5"]
    assert found["word"].to_numpy()[:4].tolist() == ["a", "b", "c", "a"]
    assert found["onset"].attrs["units"] == "s"
    assert found["stimulus"].to_numpy()[1] == "b-2" and found.sizes["stimulus"] == 72
    assert crawl.crawl(sweep, advance=silent)["new"] == 0
    assert probes.probe(sweep, advance=silent)["new"] == 4
    tree = store.open(sweep.store)
    word = tree["results/stimuli-label/probe"].to_dataset()
    assert word["class"].to_numpy().tolist() == ["a", "b", "c"]
    assert float(word["score"].sel(layer="layer1").max()) > 0.9 > float(word["chance"])
    assert "recording" in word.attrs["description"]
    moved = (words / "said" / "events.tsv").read_text().replace("3.666667\t0.25", "3.6\t0.25")
    (words / "said" / "events.tsv").write_text(moved)
    with pytest.raises(ValueError, match="stimuli_sha256"):
        crawl.crawl(sweep, advance=silent)


def test_parts_of_recordings_that_need_windows_have_labels_and_resume(words):
    stimuli = {"name": str(words / "said"), "arguments": {"events": True}}
    content = sweep_in(words, [0], stimuli=stimuli, targets=[],
                       windows={"context": 1.5, "stride": 1.0, "lookahead": 0.5})  # fmt: skip
    sweep = sweep_of(content)
    assert crawl.crawl(sweep, advance=silent) == {"done": 1, "failed": 0, "new": 1}
    assert crawl.crawl(sweep, advance=silent)["new"] == 0
    found = store.open(sweep.store)["activations"].to_dataset()
    assert found["word"].to_numpy()[:4].tolist() == ["a", "b", "c", "a"]
    np.testing.assert_allclose(found["duration"], 0.25)
    through = store.read_activations(sweep.store, 0)
    model = checkpoint_of(sweep)
    whole = heard(model, load(words / "said", events=True), "mean")
    for layer, values in through.items():
        assert values.shape == whole[layer].shape == (72, 16)
        # It attends to all that it hears, and counts places from where it begins: alike, not same.
        alike = [np.corrcoef(a, b)[0, 1] for a, b in zip(values, whole[layer])]
        assert np.median(alike) > 0.8 and np.abs(values - whole[layer]).max() > 1e-6


def checkpoint_of(sweep):
    from dynamics import models

    (found,) = crawl.discover(sweep)
    return models.load("encodecmae", found.uri, heads=2)


def test_folds_of_labels_keep_a_recording_in_one_and_leave_rare_classes_out(words):
    stimuli = load(words / "said", events=True)
    task = probes.load("stimuli-label", stimuli=stimuli, label="word")
    for part in task.partitions:
        train, test = (set(stimuli.within.recording[rows]) for rows in (part.train, part.test))
        assert train and test and not train & test
    lines = (words / "said" / "events.tsv").read_text().splitlines()
    lines[1], lines[14] = (line.replace("\ta\t", "\trare\t") for line in (lines[1], lines[14]))
    (words / "said" / "events.tsv").write_text("\n".join(lines))
    stimuli = load(words / "said", events=True)
    task = probes.load("stimuli-label", stimuli=stimuli, label="word")
    assert task.classes == ("a", "b", "c") and "1 of 4 classes" in task.description
    rows = np.concatenate([part.test for part in task.partitions])
    out = [row for row in range(72) if stimuli.within.labels["word"][row] == "rare"]
    assert sorted(rows) == sorted(set(range(72)) - set(out)) and len(out) == 1
    few = stimuli.subset(np.flatnonzero(stimuli.within.recording == 0).tolist())
    task = probes.load("stimuli-label", stimuli=few, label="word", least=1)
    assert len(task.partitions) == 5 and "stretches" in task.description


@pytest.mark.parametrize(
    "arguments, told",
    [
        ({"label": "sex"}, r"no label 'sex': there are word, speaker"),
        ({"label": "word", "least": 99}, "no two classes"),
        ({}, "needs the argument `label`"),
    ],
)
def test_labels_that_cannot_be_learned_are_told(words, arguments, told):
    stimuli = load(words / "said", events=True)
    with pytest.raises(ValueError, match=told):
        probes.load("stimuli-label", stimuli=stimuli, **arguments)


@pytest.mark.slow
def test_results_say_what_the_halves_of_parts_are_of(words):
    stimuli = {"name": str(words / "said"), "arguments": {"events": True}}
    target = {"name": "stimuli-labels", "label": "words", "arguments": {"label": "word"}}
    content = sweep_in(words, [0], stimuli=stimuli, targets=[target], baseline=None, resamples=4,
                       workers=1, metrics=["ridge"])  # fmt: skip
    sweep = sweep_of(content)
    crawl.crawl(sweep, advance=silent)
    analyze.analyze(sweep, advance=silent)
    results = store.open(sweep.store)["results/words/ridge"].to_dataset()
    assert results.attrs["halves"].startswith("stretches of neighbouring")
    assert "stretches" in str(results.attrs["identity"])
    scheme = Scheme.of(results["resample_score"])
    assert 10 < scheme.limit < 20 and scheme.freedom(1000) == scheme.limit
    assert analyze.analyze(sweep, advance=silent) == {"new": 0, "already": 1}


@pytest.mark.slow
def test_labels_are_a_target_for_every_metric(words):
    stimuli = {"name": str(words / "said"), "arguments": {"events": True}}
    target = {"name": "stimuli-labels", "label": "words", "arguments": {"label": "word"}}
    content = sweep_in(words, [0], stimuli=stimuli, targets=[target], baseline=None, resamples=0,
                       workers=1, metrics=["ridge", "rsa", "pwcca"])  # fmt: skip
    sweep = sweep_of(content)
    made = brains.load("stimuli-labels", stimuli=load(words / "said", events=True), label="word")
    assert made["response"].dims == ("stimulus", "neuroid") and made.sizes["neuroid"] == 3
    np.testing.assert_array_equal(made["response"].sum("neuroid"), 1.0)
    assert made["response"].sel(stimulus="b-2").to_numpy().tolist() == [0, 1, 0]
    assert made["group"].to_numpy()[[0, 11, 12]].tolist() == ["t0", "t0", "t1"]
    crawl.crawl(sweep, advance=silent)
    analyze.analyze(sweep, advance=silent)
    for metric in ("ridge", "rsa", "pwcca"):
        results = store.open(sweep.store)[f"results/words/{metric}"].to_dataset()
        # Three tones are told apart by any network.
        assert float(results["score"].mean()) > 0.4, metric
    with pytest.raises(ValueError, match="no label 'sex': there are category, word, speaker"):
        brains.load("stimuli-labels", stimuli=load(words / "said", events=True), label="sex")
    with pytest.raises(ValueError, match="no two classes"):
        brains.load("stimuli-labels", stimuli=recordings(1.0, 2.0))


def test_whole_sounds_have_no_labels_of_parts():
    with pytest.raises(ValueError, match="`events`"):
        probes.load("stimuli-label", stimuli=recordings(1.0, 2.0), label="word")


@pytest.mark.parametrize("kind", ["ridge", "mlp"])
def test_halves_and_draws_of_a_probe_keep_recordings_or_stretches_whole(words, kind):
    stimuli = load(words / "said", events=True)
    task = probes.load("stimuli-label", stimuli=stimuli, label="word")
    drawn = resampling.draw(task, kind, 8)
    assert drawn.halves == (kind == "ridge") and f" of {drawn.units}" in drawn.method
    assert drawn.attrs["limit"] == drawn.limit > 4
    own = neighbours.of_parts(
        stimuli.within.recording,
        stimuli.within.onset,
        np.unique(task.splits, return_inverse=True)[1],
    )
    for unit in np.unique(own.unit):
        rows = np.flatnonzero(own.unit == unit)
        tested = [rows[np.array(task.splits)[rows] == name] for name in np.unique(task.splits)]
        for some in tested:
            assert (drawn.counts[:, some] == drawn.counts[:, some[:1]]).all()
    if drawn.halves:
        assert (drawn.counts[0::2] + drawn.counts[1::2] == 1).all()
        assert (abs(drawn.counts.sum(1) - 36) <= 8).all()
    else:
        assert drawn.counts.mean() == pytest.approx(1, abs=0.2)

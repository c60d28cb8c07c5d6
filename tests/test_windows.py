"""Long sounds through windows: nothing changes away from their edges, and memory is bounded."""

import math

import numpy as np
import pytest
import torch

from dynamics.extraction import extract, hearing, poolings, spans_in_windows, windows
from dynamics.extraction.windows import Block, Piece
from dynamics.models import Hearing, Windows
from dynamics.sounds import StimulusSet
from dynamics.sounds.within import Within

RATE, HOP = 1000, 20


class Filters(torch.nn.Module):
    """Two layers of filters that see `reach` frames to either side, or back alone."""

    sample_rate = RATE
    layers = ("first", "second")
    batchable, why_not_batchable, batch_equal_lengths = True, "", True

    def __init__(self, reach=3, causal=False):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.reach, self.causal = reach, causal
        width = reach + 1 if causal else 2 * reach + 1
        self.taps = torch.nn.Parameter(torch.randn(5, 4, width, generator=generator) / 5)
        self.basis = torch.nn.Parameter(torch.randn(4, HOP, generator=generator) / 4)
        self.frame_times = {name: (HOP / RATE / 2, HOP / RATE) for name in self.layers}

    def frames(self, lengths):
        return dict.fromkeys(self.layers, lengths // HOP)

    def prepare(self, waveforms, lengths=None):
        return (waveforms, torch.as_tensor(lengths) // HOP)

    def forward_prepared(self, waveforms, counts):
        n = waveforms.shape[1] // HOP
        first = waveforms[:, : n * HOP].reshape(len(waveforms), n, HOP) @ self.basis.T
        first = first * (torch.arange(n) < counts[:, None])[..., None]
        around = (self.reach, 0) if self.causal else (self.reach, self.reach)
        padded = torch.nn.functional.pad(first.transpose(1, 2), around)
        return {
            "first": first,
            "second": torch.nn.functional.conv1d(padded, self.taps).transpose(1, 2),
        }


def stimuli_of(lengths, seed=0):
    rng = np.random.default_rng(seed)
    waves = [rng.standard_normal(n).astype("float32") for n in lengths]
    return waves, StimulusSet(
        name="long",
        names=tuple(f"s{i}" for i in range(len(waves))),
        categories=("x",) * len(waves),
        durations=np.array([n / RATE for n in lengths]),
        sources=tuple(lambda w=w: (w, RATE) for w in waves),
    )


def gathered(model, waves, how, pooling, **options):
    """All blocks put together, (n, times, features) by layer, NaN past each end."""
    plans = [windows.plan(model, how, pooling, row, len(w) / RATE)
             for row, w in enumerate(waves)]  # fmt: skip
    times = max(pieces[-1].last for pieces in plans)
    out = {}
    for block in windows.heard(
        model, [(p, np.array_split(w, 7)) for p, w in zip(plans, waves)], pooling, **options
    ):
        assert isinstance(block, Block)
        for layer, values in block.values.items():
            whole = out.setdefault(
                layer, np.full((len(waves), times, values.shape[1]), np.nan, np.float32)
            )
            part = whole[block.row, block.first : block.first + len(values)]
            assert np.isnan(part).all()  # every sample once
            part[:] = values
    return out


@pytest.mark.parametrize("rate", [50, 25, 10, 7.3, 80])
@pytest.mark.parametrize("lengths", [(5000, 3217, 420), (2000,)])
def test_away_from_edges_a_window_changes_nothing(rate, lengths):
    model, pooling = Filters(reach=3), poolings.make("time", rate=rate)
    waves, stimuli = stimuli_of(lengths)
    expected = extract.extract(model, extract.batches(model, stimuli), pooling=pooling)
    # Three frames of 20 ms to either side, and half a sample of the output.
    enough = 3 * HOP / RATE + 1 / rate + HOP / RATE
    how = Windows(context=enough, stride=0.5, lookahead=enough)
    found = gathered(model, waves, how, pooling, batch_size=3)
    for layer in model.layers:
        np.testing.assert_allclose(found[layer], expected[layer], atol=1e-5)
    less = gathered(model, waves, Windows(0.0, 0.5, 0.0), pooling)
    assert np.nanmax(abs(less["second"] - expected["second"])) > 0.1  # there is something to lose


def test_a_causal_network_needs_no_lookahead():
    model, pooling = Filters(reach=4, causal=True), poolings.make("time", rate=50)
    waves, stimuli = stimuli_of((4000,))
    expected = extract.extract(model, extract.batches(model, stimuli), pooling=pooling)
    found = gathered(model, waves, Windows(0.1, 0.4, 0.0), pooling)
    np.testing.assert_allclose(found["second"], expected["second"], atol=1e-5)


def test_what_fits_into_a_window_is_heard_as_without_to_the_bit():
    model, pooling = Filters(), poolings.make("time", rate=30)
    waves, stimuli = stimuli_of((900, 1000))
    expected = extract.extract(
        model, extract.batches(model, stimuli, batch_size=1), pooling=pooling
    )
    found = gathered(model, waves, Windows(0.5, 0.4, 0.1), pooling, batch_size=1)
    for layer in model.layers:
        np.testing.assert_array_equal(found[layer], expected[layer])


@pytest.mark.parametrize("length, rate", [(5000, 50), (4999, 7), (12_345, 3.3), (1001, 100)])
@pytest.mark.parametrize("how", [Windows(1, 0.5, 0.2), Windows(0.7, 0.1), Windows(0, 0.33, 0.1)])
def test_windows_keep_every_sample_once_and_hold_what_they_keep(length, rate, how):
    model, pooling = Filters(), poolings.make("time", rate=rate)
    pieces = windows.plan(model, how, pooling, 4, length / RATE)
    count = int(pooling.counts(np.array([length / RATE]))[0])
    assert [piece.first for piece in pieces] == [0, *(piece.last for piece in pieces[:-1])]
    assert pieces[-1].last == count and {piece.row for piece in pieces} == {4}
    for piece in pieces:
        assert piece.begin % HOP == 0 and 0 <= piece.begin < piece.end <= length
        most = max(how.length, how.stride + 1 / rate + how.lookahead)
        assert piece.end - piece.begin <= round(most * RATE) + HOP
        # All of every sample, and before the first what is not needed for the end of the last.
        assert piece.first / rate * RATE >= piece.begin - 0.5
        assert piece is pieces[-1] or piece.last / rate * RATE <= piece.end + 0.5
        centre, seen = (piece.first + 0.5) / rate, piece.begin / RATE
        assert seen == 0 or centre - seen >= how.context - 0.5 / rate - 1e-9


def test_a_sound_is_held_a_window_at_a_time():
    pieces = [Piece(0, begin, begin + 500, 0, 1, 0, 1) for begin in range(0, 99_000, 100)]
    given, most = 0, []

    def blocks():
        nonlocal given
        for start in range(0, 100_000, 256):
            given = start + 256
            yield np.arange(start, start + 256, dtype=np.float32)

    for piece, waveform in zip(pieces, windows.cut(blocks(), pieces)):
        assert waveform[0] == piece.begin and len(waveform) == 500
        most.append(given - piece.end)
    assert max(most) < 256
    with pytest.raises(ValueError, match="a sound ended after 300 samples and 500 were stated"):
        list(windows.cut([np.zeros(300, np.float32)], pieces[:1]))


def test_windows_of_several_sounds_share_batches_where_padding_changes_nothing():
    model, pooling = Filters(), poolings.make("time", rate=20)
    waves, _ = stimuli_of((3000, 2500, 1700))
    sizes = []
    inner = model.forward_prepared
    model.forward_prepared = lambda *args: sizes.append(len(args[0])) or inner(*args)
    together = gathered(model, waves, Windows(0.2, 0.3, 0.1), pooling, batch_size=8)
    assert max(sizes) == 8 and len(sizes) == math.ceil(sum([10, 9, 6]) / 8)
    sizes.clear()
    model.batchable = model.batch_equal_lengths = False
    alone = gathered(model, waves, Windows(0.2, 0.3, 0.1), pooling, batch_size=8)
    assert set(sizes) == {1}
    for layer in model.layers:
        np.testing.assert_allclose(together[layer], alone[layer], atol=1e-5)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"context": -1}, "`context` of windows is -1"),
        ({"stride": 0}, "`stride` of windows is 0"),
        ({"lookahead": math.nan}, "`lookahead` of windows is nan"),
        ({"context": "a"}, "`context` of windows is 'a'"),
    ],
)
def test_windows_that_are_none_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Windows(**arguments)
    with pytest.raises(
        ValueError, match="the pooling 'median' cannot go through windows: use last"
    ):
        next(windows.heard(Filters(), [], poolings.Pooling("median", average=torch.mean)))
    with pytest.raises(ValueError, match="are too long for the network, which takes 2 s at most"):
        hearing.check(Windows(1, 1, 1), Hearing(limit=2.0), poolings.make("mean"))
    with pytest.raises(ValueError, match=r"are shorter than a sample of the pooling \(50 s\)"):
        hearing.check(Windows(), Hearing(), poolings.make("time", rate=0.02))


@pytest.mark.parametrize("name", ["mean", "mean+deviation", "last"])
@pytest.mark.parametrize("stride", [0.5, 0.07, 0.013])
def test_poolings_without_time_take_every_frame_of_a_long_sound_once(name, stride):
    model, pooling = Filters(reach=3), poolings.make(name)
    _, stimuli = stimuli_of((5003, 3217, 420))
    expected = extract.extract(model, extract.batches(model, stimuli), pooling=pooling)
    how = Windows(0.2, stride, 0.1)
    blocks = hearing.blocks(model, stimuli, how, pooling, batch_size=3)
    found = hearing.gathered(blocks, stimuli, pooling)
    for layer in model.layers:
        np.testing.assert_allclose(found[layer], expected[layer], atol=1e-5)


@pytest.mark.parametrize("pooling", [poolings.make("time", rate=30), poolings.make("mean")])
def test_short_sounds_among_long_ones_are_heard_as_by_themselves_to_the_bit(pooling):
    model, how = Filters(), Windows(0.5, 0.4, 0.1)
    _, stimuli = stimuli_of((900, 3000, 1000, 700))
    found = hearing.gathered(hearing.blocks(model, stimuli, how, pooling), stimuli, pooling)
    short = stimuli.subset([0, 2, 3])
    expected = extract.extract(model, extract.batches(model, short), pooling=pooling)
    for layer in model.layers:
        times = expected[layer].shape[1] if pooling.rate else slice(None)
        mine = found[layer][[0, 2, 3]][:, :times] if pooling.rate else found[layer][[0, 2, 3]]
        np.testing.assert_array_equal(mine, expected[layer])


class Whole(Filters):
    """One layer has no axis of time."""

    def frames(self, lengths):
        return super().frames(lengths) | {"second": torch.ones_like(lengths)}

    def forward_prepared(self, waveforms, counts):
        layers = super().forward_prepared(waveforms, counts)
        return layers | {"second": layers["first"].sum(1, keepdim=True)}


def test_a_layer_without_time_counts_once_a_window():
    model, (waves, stimuli) = Whole(), stimuli_of((2000,))
    model.frame_times["second"] = (0.5, 1.0)
    mean, how = poolings.make("mean"), Windows(0.0, 0.5, 0.0)
    found = hearing.gathered(hearing.blocks(model, stimuli, how, mean), stimuli, mean)
    frames = waves[0].reshape(4, -1, HOP) @ model.basis.detach().numpy().T
    np.testing.assert_allclose(found["second"][0], frames.sum(1).mean(0), atol=1e-4)


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("mean", {}),
        ("mean+deviation", {}),
        ("last", {}),
        ("time", {"rate": 50}),
        ("time", {"rate": 7.3}),
    ],
)
def test_parts_of_long_recordings_are_what_they_are_in_the_whole(name, arguments):
    model, pooling = Filters(reach=3), poolings.make(name, **arguments)
    _, recordings = stimuli_of((5003, 600, 3217))
    events = [(0, 0.0, 0.3), (0, 1.23, 0.004), (0, 0.9, 2.2), (0, 4.1, 0.903), (1, 0.1, 0.2),
              (2, 3.0, 0.217), (2, 0.51, 0.04), (0, 1.23, 0.5)]  # fmt: skip
    within = Within(recordings, *map(np.array, zip(*events)))
    stimuli = StimulusSet(
        name="parts",
        names=tuple(map(str, range(len(events)))),
        categories=("x",) * len(events),
        durations=within.duration,
        sources=within.sources(),
        within=within,
    )
    expected = extract.extract(model, extract.batches(model, stimuli), pooling=pooling)
    found = list(hearing.blocks(model, stimuli, Windows(0.3, 0.5, 0.2), pooling, batch_size=3))
    assert sorted(block.row for block in found) == list(range(len(events)))
    assert found[0].row == 4  # the short recording is heard at once
    together = hearing.gathered(found, stimuli, pooling)
    for layer in model.layers:
        np.testing.assert_allclose(together[layer], expected[layer], atol=1e-5)


def test_frames_are_held_only_while_a_part_needs_them(monkeypatch):
    model, pooling, most = Filters(), poolings.make("mean"), []
    _, recordings = stimuli_of((60_000,))
    onsets = np.arange(0, 59, 0.5)
    within = Within(recordings, np.zeros(len(onsets), int), onsets, np.full(len(onsets), 0.4))
    pieces = windows.plan(model, Windows(0.2, 0.5, 0.1), pooling, 0, 60.0)
    forget = spans_in_windows._Held.forget

    def forget_and_see(held, before):
        forget(held, before)
        most.append(sum(map(len, held.parts)))

    monkeypatch.setattr(spans_in_windows._Held, "forget", forget_and_see)
    heard = windows.frames_of(model, [(pieces, recordings.stream(0, RATE))])
    assert len(list(spans_in_windows.pooled(heard, within, pooling))) == len(onsets)
    assert max(most) * HOP / RATE < 2.0

import numpy as np
import pytest
import torch

from dynamics import sounds
from dynamics.extraction import extract
from dynamics.models import encodecmae

MODEL = {"layers": 2, "width": 16, "heads": 2, "feed_forward": 24, "mels": 32}


class Ramp:
    """A model whose activation at frame t is t, with 10 frames a second at 1 kHz."""

    sample_rate, layers, batchable, why_not_batchable = 1000, ("ramp",), True, ""
    batch_equal_lengths = True

    def frames(self, lengths):
        return {"ramp": lengths // 100}

    def prepare(self, waveforms, lengths=None):
        return (waveforms[:, ::100],)

    def forward_prepared(self, prepared):
        batch, frames = prepared.shape
        return {"ramp": torch.arange(frames).float().expand(batch, frames).unsqueeze(-1)}


def stimuli_of(seconds):
    return sounds.StimulusSet(
        name="test",
        names=tuple(f"s{n}" for n in range(len(seconds))),
        categories=("x",) * len(seconds),
        durations=np.array(seconds),
        sources=tuple(lambda s=s: (np.zeros(int(1000 * s), "float32"), 1000) for s in seconds),
    )


@pytest.mark.parametrize(
    ("pooling", "formula"),
    [
        ("mean", lambda n: [np.arange(n).mean()]),
        ("mean+deviation", lambda n: [np.arange(n).mean(), np.arange(n).std()]),
        ("last", lambda n: [n - 1]),
    ],
)
def test_pooling_follows_its_formula_and_rows_keep_their_order(pooling, formula):
    stimuli, model = stimuli_of([1.0, 0.3, 2.0, 0.5]), Ramp()
    found = extract.extract(model, extract.batches(model, stimuli, batch_size=3), pooling=pooling)
    expected = [formula(n) for n in (10, 3, 20, 5)]
    np.testing.assert_allclose(found["ramp"], expected, rtol=1e-6)


@pytest.mark.guards(9)
def test_batch_size_and_keeping_change_nothing():
    stimuli = sounds.load("synthetic", per_kind=1, seconds=0.5)
    model = encodecmae.build(None, **MODEL)
    one = extract.extract(model, extract.batches(model, stimuli, batch_size=1))
    many = extract.extract(model, extract.batches(model, stimuli, batch_size=7))
    lean = extract.extract(model, extract.batches(model, stimuli, batch_size=7, keep_bytes=0))
    for layer in model.layers:
        # float32: other batch shapes sum in another order
        np.testing.assert_allclose(one[layer], many[layer], atol=1e-5)
        np.testing.assert_array_equal(many[layer], lean[layer])


@pytest.mark.parametrize(
    ("padding", "equal", "sizes"),
    [(True, True, [3, 1]), (False, True, [1, 2, 1]), (False, False, [1, 1, 1, 1])],
)
@pytest.mark.guards(9)
def test_batches_hold_only_what_leaves_the_numbers_alone(padding, equal, sizes, caplog):
    stimuli, model = stimuli_of([1.0, 0.3, 2.0, 1.0]), Ramp()
    model.batchable, model.batch_equal_lengths = padding, equal
    model.why_not_batchable = "" if padding else "it hears the padding"
    made = list(extract.batches(model, stimuli, batch_size=3))
    assert [len(batch.rows) for batch in made] == sizes
    assert sorted(np.concatenate([batch.rows for batch in made])) == [0, 1, 2, 3]
    assert bool(caplog.text) is not padding
    if not padding:
        assert f"4 stimuli take {len(sizes)} batches: it hears the padding" in caplog.text
        assert all(len(set(batch.lengths.tolist())) == 1 for batch in made)


def test_the_distance_of_two_extractions_is_relative_to_a_layers_largest_value():
    one = {"a": np.array([[1.0, -4.0], [2.0, np.nan]]), "b": np.ones((2, 2))}
    assert extract.distance(one, one)[0] <= 0
    other = {"a": one["a"] + [[0.1, 0], [0, 0]], "b": one["b"]}
    assert extract.distance(other, one) == (pytest.approx(0.1 / 4), "a")
    assert extract.distance(other, one, rounding=0.1)[0] <= 0
    assert extract.distance({"a": one["a"]}, one) == (float("inf"), "b")
    gone = {"a": np.nan_to_num(one["a"]), "b": one["b"]}
    assert extract.distance(gone, one) == (float("inf"), "a")


def test_an_unknown_pooling_lists_what_there_is():
    with pytest.raises(ValueError, match="last, mean, mean\\+deviation"):
        extract.extract(Ramp(), [], pooling="median")


def test_activations_that_overflow_are_an_error_naming_the_layer():
    model = encodecmae.build(None, **MODEL)
    with torch.no_grad():
        model.state_dict()["visible_encoder.encoder_layers.1.norm2.weight"][:] = torch.inf
    stimuli = sounds.load("synthetic", per_kind=1, seconds=0.3)
    with pytest.raises(ValueError, match=r"layer1.*not finite"):
        extract.extract(model, extract.batches(model, stimuli))

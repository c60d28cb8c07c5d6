"""The EnCodecMAE adapter gives the original network's numbers, alone and in padded batches."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch
from adapters import a_click_keeps_its_time

from dynamics.models.encodecmae import build
from dynamics.models.mel import DEVIATION, MEAN, frame_count, log_mel

CHECKPOINTS = {0: "epoch=0-step=0.ckpt", 1000: "epoch=10-step=1000.ckpt"}
SMALL = {"layers": 3, "width": 48, "heads": 4, "mels": 40, "frames_per_token": 2, "seed": 3}


@pytest.fixture
def fixture(encodecmae_fixtures):
    """State dict, waveforms and reference of a step."""

    def load(step):
        content = torch.load(encodecmae_fixtures / CHECKPOINTS[step], weights_only=True)
        clips = [
            soundfile.read(encodecmae_fixtures / f"{name}.wav")[0] for name in ("tones", "noise")
        ]
        reference = np.load(encodecmae_fixtures / f"reference-step={step}.npz")
        waveforms = torch.tensor(np.stack(clips), dtype=torch.float32)
        return content["state_dict"], waveforms, reference

    return load


@pytest.mark.parametrize("step", CHECKPOINTS)
def test_front_end_and_every_layer_equal_the_original(fixture, step):
    state, waveforms, reference = fixture(step)
    model = build(state, heads=4)
    mel, frames = model.prepare(waveforms)
    assert frames.tolist() == [149, 149]
    np.testing.assert_allclose(mel.numpy(), reference["mel"], atol=1e-4, rtol=0)
    outputs = model(waveforms)
    assert list(outputs) == list(model.layers) == ["layer0", "layer1", "layer2"]
    for i, layer in enumerate(model.layers):
        np.testing.assert_allclose(
            outputs[layer].numpy(), reference["activations"][i], atol=1e-4, rtol=0
        )


def test_exchanged_weights_give_the_other_checkpoints_numbers(fixture):
    model = build(fixture(0)[0], heads=4)
    state, waveforms, reference = fixture(1000)
    model.load_weights(state)
    for i, activation in enumerate(model(waveforms).values()):
        np.testing.assert_allclose(
            activation.numpy(), reference["activations"][i], atol=1e-4, rtol=0
        )


@pytest.mark.parametrize("mels", [64, 256])
def test_batched_mel_equals_kaldi_clip_by_clip(mels):
    kaldi = pytest.importorskip("torchaudio.compliance.kaldi")
    waveforms = torch.randn(3, 30011, generator=torch.Generator().manual_seed(0)) * 0.1
    for clip, ours in zip(waveforms, log_mel(waveforms, mels=mels)):
        theirs = kaldi.fbank(
            clip[None],
            sample_frequency=24000,
            frame_length=26.56,
            frame_shift=13.28,
            num_mel_bins=mels,
            window_type="hanning",
            dither=0.0,
            htk_compat=True,
            use_energy=False,
        )
        # Rounding of its single-precision triangles differs between machines by up to 2e-4.
        torch.testing.assert_close(ours, (theirs - MEAN) / DEVIATION, atol=4e-4, rtol=0)


@pytest.mark.parametrize("frames_per_token", [1, 2])
def test_padding_never_changes_a_number(frames_per_token):
    model = build(None, **{**SMALL, "frames_per_token": frames_per_token})
    lengths = torch.tensor([1500, 48000, 20000, 33333])
    waveforms = torch.randn(4, 48000, generator=torch.Generator().manual_seed(1)) * 0.1
    # What lies past a stimulus' end must not matter, whatever it is.
    batch = model(waveforms, lengths)
    frames = model.frames(lengths)
    for i, length in enumerate(lengths.tolist()):
        alone = model(waveforms[i : i + 1, :length])
        for layer in model.layers:
            valid = int(frames[layer][i])
            assert alone[layer].shape[1] == valid
            torch.testing.assert_close(batch[layer][i, :valid], alone[layer][0], atol=1e-5, rtol=0)
            assert not batch[layer][i, valid:].any()


def test_prepared_input_gives_the_same_result_as_the_waveform():
    model = build(None, **SMALL)
    waveforms = torch.randn(2, 24000, generator=torch.Generator().manual_seed(2))
    prepared = model.prepare(waveforms, torch.tensor([24000, 9000]))
    direct = model(waveforms, torch.tensor([24000, 9000]))
    for layer, activation in model.forward_prepared(*prepared).items():
        assert torch.equal(activation, direct[layer])


def test_frame_times_are_the_centres_of_the_samples_a_token_sees():
    model = build(None, **SMALL)
    first, spacing = model.frame_times["layer0"]
    assert first == pytest.approx((637 + 318) / 2 / 24000)
    assert spacing == pytest.approx(2 * 318 / 24000)
    single = build(None, **{**SMALL, "frames_per_token": 1})
    click = torch.zeros(1, 24000)
    click[0, 12000] = 1.0
    loudest = int(single.prepare(click)[0][0].sum(dim=1).argmax())
    first, spacing = single.frame_times["layer0"]
    assert first + loudest * spacing == pytest.approx(0.5, abs=spacing)
    a_click_keeps_its_time(model)
    a_click_keeps_its_time(single)


def test_frame_count_equals_the_length_of_the_spectrogram():
    for samples in (637, 954, 955, 48000):
        assert (
            int(frame_count(torch.tensor([samples]))) == log_mel(torch.zeros(1, samples)).shape[1]
        )
    assert frame_count(torch.tensor([0, 636])).tolist() == [0, 0]


def test_the_seed_decides_a_fresh_network_and_nothing_else_changes():
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    first, again, other = (build(None, **{**SMALL, "seed": seed}) for seed in (3, 3, 4))
    assert torch.equal(torch.rand(3), expected)
    names = "visible_encoder.encoder_layers.1.ff_layer.0.weight"
    assert torch.equal(first.state_dict()[names], again.state_dict()[names])
    assert not torch.equal(first.state_dict()[names], other.state_dict()[names])
    shared = names.replace(".1.", ".2.", 1)
    assert torch.equal(first.state_dict()[names], first.state_dict()[shared])


def test_published_large_sizes_have_narrower_projections():
    model = build(None, layers=1, width=1024, heads=12, feed_forward=8, mels=8)
    assert model.visible_encoder.encoder_layers[0].att_layer.wq.weight.shape == (1020, 1024)


def test_weights_that_do_not_fit_are_named(fixture):
    state, _, _ = fixture(0)
    model = build(state, heads=4)
    name = "visible_encoder.encoder_layers.1.norm1.weight"
    with pytest.raises(ValueError, match="lacks 1 weights"):
        model.load_weights({k: v for k, v in state.items() if k != name})
    with pytest.raises(ValueError, match="NaN or infinite"):
        model.load_weights({**state, name: torch.full_like(state[name], float("nan"))})
    with pytest.raises(ValueError, match="encoder_layers"):
        model.load_weights({**state, name: torch.zeros(7)})
    with pytest.raises(ValueError, match="not an EnCodecMAE"):
        build({"weight": torch.zeros(1)})
    with pytest.raises(ValueError, match="frames_per_token is 3"):
        build(state, heads=4, frames_per_token=3)


def test_a_stimulus_shorter_than_a_frame_is_refused():
    with pytest.raises(ValueError, match="100 samples"):
        build(None, **SMALL)(torch.zeros(2, 5000), torch.tensor([5000, 100]))

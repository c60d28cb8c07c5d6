"""Sounds shorter than what a network's first frame spans: there is no frame, and that is said."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch
from tiny_run import sweep_in, sweep_of

from dynamics import models, sounds, store
from dynamics.extraction import crawl, extract
from dynamics.faults import SoundError
from dynamics.models.waveform import has_frames, shortest
from dynamics.progress import silent

WAVES = dict(
    hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
    conv_dim=[8] * 7, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2,
)  # fmt: skip
LAYERED = dict(feat_extract_norm="layer", do_stable_layer_norm=True)
AST = dict(
    model_type="audio-spectrogram-transformer", hidden_size=16, num_hidden_layers=1,
    num_attention_heads=2, intermediate_size=24, max_length=128, num_mel_bins=32,
)  # fmt: skip
TORCHAUDIO = dict(
    extractor_mode="layer_norm", extractor_conv_layer_config=None, extractor_conv_bias=False,
    encoder_embed_dim=16, encoder_projection_dropout=0.0, encoder_pos_conv_kernel=8,
    encoder_pos_conv_groups=2, encoder_num_layers=1, encoder_num_heads=2,
    encoder_attention_dropout=0.0, encoder_ff_interm_features=24, encoder_ff_interm_dropout=0.0,
    encoder_dropout=0.0, encoder_layer_norm_first=True, encoder_layer_drop=0.0, aux_num_out=None,
)  # fmt: skip


def convolution():
    return torch.nn.Sequential(torch.nn.Unflatten(1, (1, -1)), torch.nn.Conv1d(1, 4, 400, 320))


# adapter, arguments, the fewest samples by hand: 400 is the field of wav2vec 2.0's convolutions
# (10 + 2*5 + 2*10 + 2*20 + 2*40 + 1*80 + 1*160), as of a window of 25 ms at 16 kHz
NETWORKS = {
    "waves, layer norm": (
        "huggingface", {"config": {"model_type": "wav2vec2", **WAVES, **LAYERED}}, 400
    ),
    "waves, group norm": ("huggingface", {"config": {"model_type": "hubert", **WAVES}}, 400),
    "AST: a patch of 16 frames": ("huggingface", {"config": AST}, 400 + 15 * 160),
    "torchaudio": ("torchaudio", {"name": "wav2vec2_model", "options": TORCHAUDIO}, 400),
    "module": ("module", {"factory": f"{__name__}:convolution", "layers": "1"}, 400),
    "s3prl": ("s3prl", {"name": "fbank"}, 400),
    "encodecmae": ("encodecmae", dict(layers=1, width=8, heads=2, feed_forward=8, mels=16), 637),
    "two frames a token": (
        "encodecmae", dict(layers=1, width=8, heads=2, feed_forward=8, mels=16, frames_per_token=2),
        637 + 318,
    ),
}  # fmt: skip


def stimuli_of(samples, rate):
    rng = np.random.default_rng(0)
    waves = [0.1 * rng.standard_normal(n).astype("float32") for n in samples]
    return sounds.StimulusSet(
        name="short",
        names=tuple(f"s{n}" for n in samples),
        categories=("x",) * len(samples),
        durations=np.array(samples) / rate,
        sources=tuple(lambda wave=wave: (wave, rate) for wave in waves),
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_a_sound_without_a_frame_is_named_alone_and_in_a_batch(name):
    adapter, arguments, least = NETWORKS[name]
    model = models.load(adapter, None, **arguments)
    assert shortest(model) == least
    assert has_frames(model, least) and not has_frames(model, least - 1)
    rate = model.sample_rate
    for samples in ([least - 1], [1], [rate, least - 1], [rate, 1]):
        message = f"stimulus 's{samples[-1]}' has {samples[-1]} samples .* fewer than {least} "
        with pytest.raises(SoundError, match=message):
            extract.batches(model, stimuli_of(samples, rate), batch_size=4)
    # The shortest that has a frame gives the same alone and beside a second of sound.
    both = stimuli_of([rate, least], rate)
    one, two = (extract.extract(model, extract.batches(model, both, batch_size=n)) for n in (1, 2))
    for layer in model.layers:
        assert np.isfinite(one[layer]).all()
        # float32, other batch shapes
        np.testing.assert_allclose(two[layer], one[layer], atol=1e-5 * np.abs(one[layer]).max())


def test_every_short_sound_is_counted_and_the_shortest_named():
    model = models.load("module", None, factory=f"{__name__}:convolution", layers="1")
    with pytest.raises(SoundError, match=r"'s7' has 7 samples at 16000 Hz.* and 2 more are as sh"):
        extract.batches(model, stimuli_of([399, 16000, 7, 50, 400], 16000))


def test_frames_of_networks_that_end_with_an_adapter_are_those_of_its_layers():
    pytest.importorskip("transformers")
    config = {"model_type": "wav2vec2", **WAVES, **LAYERED, "add_adapter": True}
    model = models.load("huggingface", config=config)
    out = model(torch.randn(1, 16000))
    assert model.frames(torch.tensor([16000]))["layer1"] == out["layer1"].shape[1] == 49


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("untrained", [0, 1])
def test_a_crawl_ends_before_its_first_step_and_no_checkpoint_is_blamed(
    tmp_path, batch_size, untrained
):
    (tmp_path / "sounds").mkdir()
    for number, seconds in enumerate((0.3, 0.3, 0.01)):
        noise = np.random.default_rng(number).standard_normal(int(24000 * seconds))
        soundfile.write(tmp_path / "sounds" / f"a{number}.wav", 0.1 * noise, 24000)
    content = sweep_in(tmp_path, (5, 10), stimuli=str(tmp_path / "sounds"), targets=[])
    sweep = sweep_of(content, batch_size=batch_size, untrained=untrained)
    with pytest.raises(SoundError, match="the stimulus 'a2' has 240 samples at 24000 Hz"):
        crawl.crawl(sweep, advance=silent)
    assert set(store.statuses(store.open_group(sweep.place)).values()) == {store.PENDING}
    # With the sound taken out, another store is done.
    (tmp_path / "sounds" / "a2.wav").unlink()
    sweep = sweep_of(content, store=str(tmp_path / "b.zarr"), batch_size=batch_size, untrained=0)
    assert crawl.crawl(sweep, advance=silent) == {"done": 2, "failed": 0, "new": 2}


@pytest.mark.parametrize("samples", [420, 800, 961, 1000, 1039, 1040])
def test_a_short_sound_through_s3prl_does_not_depend_on_its_batch(tmp_path, samples):
    """s3prl lengthens short batches to 50 ms, and refuses 961 to 1,039 samples."""
    s3prl_files = pytest.importorskip("s3prl_files")
    path = s3prl_files.save(tmp_path / "states-1.ckpt", "hubert_custom", step=1, seed=1)
    model = models.load("s3prl", path, name="hubert_custom")
    wave = 0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([samples])
    alone, count = model(wave, lengths), int(model.frames(lengths)["hidden2"])
    padded = model(torch.nn.functional.pad(wave, (0, 500)), lengths)
    assert count == -(-samples // 320) == alone["hidden2"].shape[1]
    for layer in model.layers:
        np.testing.assert_array_equal(padded[layer], alone[layer])
    with torch.no_grad():
        heard = torch.nn.functional.pad(wave[0], (0, max(0, 800 - samples)))
        (expected,) = model.network.upstream([heard])["hidden_states"][-1]
    common = min(count, len(expected))
    np.testing.assert_allclose(alone["hidden2"][0, :common], expected[:common], atol=1e-6)
    assert torch.equal(alone["hidden2"][0, common:].unique(dim=0), expected[-1:]) or common == count

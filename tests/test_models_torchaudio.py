from __future__ import annotations

import numpy as np
import pytest
import torch
from adapters import a_click_keeps_its_time, equal_lengths_share_a_batch

from dynamics import models
from dynamics.models.waveform import padding_error

SMALL = dict(
    extractor_mode="layer_norm",
    extractor_conv_layer_config=[(16, 10, 5), (16, 3, 2), (16, 3, 2), (16, 3, 2), (16, 2, 2)],
    extractor_conv_bias=True,
    encoder_embed_dim=32,
    encoder_projection_dropout=0.1,
    encoder_pos_conv_kernel=16,
    encoder_pos_conv_groups=4,
    encoder_num_layers=3,
    encoder_num_heads=4,
    encoder_attention_dropout=0.1,
    encoder_ff_interm_features=48,
    encoder_ff_interm_dropout=0.1,
    encoder_dropout=0.1,
    encoder_layer_norm_first=True,
    encoder_layer_drop=0.1,
    aux_num_out=None,
)
WAVLM = {
    key: value for key, value in SMALL.items() if key != "extractor_conv_bias"
} | dict(extractor_conv_bias=True, encoder_num_buckets=8, encoder_max_distance=20)  # fmt: skip


def waveforms(seed=0):
    rng = torch.Generator().manual_seed(seed)
    batch = 0.1 * torch.randn(3, 9000, generator=rng)
    lengths = torch.tensor([9000, 4321, 6000])
    for row, length in enumerate(lengths):
        batch[row, length:] = 0
    return batch, lengths


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("wav2vec2_model", {}),
        ("wav2vec2_model", {"extractor_mode": "group_norm", "encoder_layer_norm_first": False}),
        ("wavlm_model", {}),
    ],
)
def test_a_saved_network_gives_the_activations_of_the_library(tmp_path, name, changes):
    import torchaudio

    torch.manual_seed(3)
    options = (WAVLM if name == "wavlm_model" else SMALL) | changes
    original = getattr(torchaudio.models, name)(**options).eval()
    torch.save(original.state_dict(), tmp_path / "step=5.pt")
    model = models.load("torchaudio", tmp_path / "step=5.pt", name=name, options=options)
    batch, _ = waveforms()
    with torch.no_grad():
        expected, _ = original.extract_features(batch)
        found = model(batch)
    assert tuple(found) == model.layers == ("layer0", "layer1", "layer2")
    for layer, values in zip(model.layers, expected):
        np.testing.assert_allclose(found[layer], values, atol=1e-6)
        assert model.frames(torch.tensor([9000]))[layer] == values.shape[1]


def test_padding_changes_nothing_with_layer_norm_and_is_refused_with_group_norm():
    masked = models.load("torchaudio", name="wav2vec2_model", options=SMALL)
    assert masked.batchable and masked.why_not_batchable == ""
    batch, lengths = waveforms()
    with torch.no_grad():
        together = masked(batch, lengths)
        for row, length in enumerate(lengths):
            alone = masked(batch[row : row + 1, :length])
            for layer in masked.layers:
                count = int(masked.frames(lengths)[layer][row])
                assert alone[layer].shape[1] == count
                np.testing.assert_allclose(together[layer][row, :count], alone[layer][0], atol=1e-5)
    options = SMALL | {"extractor_mode": "group_norm"}
    grouped = models.load("torchaudio", name="wav2vec2_model", options=options)
    assert not grouped.batchable
    assert "normalises over the whole input" in grouped.why_not_batchable
    assert padding_error(grouped) > 1e-3
    equal_lengths_share_a_batch(grouped)
    equal_lengths_share_a_batch(models.load("torchaudio", name="wavlm_model", options=WAVLM))


def test_weights_are_exchanged_and_other_sizes_are_refused():
    import torchaudio

    model = models.load("torchaudio", name="wav2vec2_model", options=SMALL, seed=0)
    other = models.load("torchaudio", name="wav2vec2_model", options=SMALL, seed=1)
    batch, _ = waveforms()
    with torch.no_grad():
        before = model(batch)["layer2"]
        model.load_weights(other.network.state_dict())
        np.testing.assert_array_equal(model(batch)["layer2"], other(batch)["layer2"])
        assert not torch.equal(before, model(batch)["layer2"])
    wide = torchaudio.models.wav2vec2_model(**(SMALL | {"encoder_ff_interm_features": 64}))
    with pytest.raises(ValueError, match=r"is 64x32 in the checkpoint and 48x32 in the network"):
        model.load_weights(wide.state_dict())


def test_the_pretraining_wrapper_and_its_heads_are_accepted():
    import torchaudio

    options = SMALL | {
        "mask_prob": 0.5, "mask_selection": "static", "mask_other": 0.0, "mask_length": 3,
        "no_mask_overlap": False, "mask_min_space": 1, "mask_channel_prob": 0.0,
        "mask_channel_selection": "static", "mask_channel_other": 0.0, "mask_channel_length": 3,
        "no_mask_channel_overlap": False, "mask_channel_min_space": 1, "skip_masked": False,
        "skip_nomask": False, "num_classes": 10, "final_dim": 8, "feature_grad_mult": 0.1,
    }  # fmt: skip
    del options["aux_num_out"]
    wrapped = torchaudio.models.hubert_pretrain_model(**options)
    model = models.load("torchaudio", wrapped.state_dict(), name="wav2vec2_model", options=SMALL)
    np.testing.assert_array_equal(
        model.network.encoder.transformer.layers[0].layer_norm.weight,
        wrapped.wav2vec2.encoder.transformer.layers[0].layer_norm.weight.detach(),
    )


def test_frame_times_follow_from_kernels_and_strides():
    model = models.load("torchaudio", name="wav2vec2_model", options=SMALL)
    # field: 10, +2*5, +2*10, +2*20, +1*40 = 120 samples; stride 5*2*2*2*2 = 80
    assert model.frame_times["layer0"] == pytest.approx((60 / 16000, 80 / 16000))
    assert model.frames(torch.tensor([120, 199, 200]))["layer0"].tolist() == [1, 1, 2]
    a_click_keeps_its_time(model)


def test_an_unknown_factory_lists_those_there_are():
    with pytest.raises(ValueError, match=r"no network 'bert'.*hubert_base"):
        models.load("torchaudio", name="bert")

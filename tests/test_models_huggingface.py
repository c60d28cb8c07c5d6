from __future__ import annotations

import json

import numpy as np
import pytest
import torch

transformers = pytest.importorskip("transformers")

from adapters import a_click_keeps_its_time, equal_lengths_share_a_batch  # noqa: E402

from dynamics import checkpoints, models  # noqa: E402

SMALL = dict(
    hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48,
    conv_dim=[16] * 7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4,
)  # fmt: skip
LAYERED = dict(feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True)
NETWORKS = {
    "wav2vec2": dict(model_type="wav2vec2", **SMALL, **LAYERED),
    "wav2vec2-group": dict(model_type="wav2vec2", **SMALL),
    "hubert": dict(model_type="hubert", **SMALL, **LAYERED),
    "wavlm": dict(model_type="wavlm", **SMALL, **LAYERED),
    "data2vec-audio": dict(model_type="data2vec-audio", **SMALL),
    "wav2vec2-conformer": dict(model_type="wav2vec2-conformer", **SMALL, feat_extract_norm="layer"),
    "unispeech-sat": dict(model_type="unispeech-sat", **SMALL, **LAYERED),
    "whisper": dict(
        model_type="whisper", d_model=32, encoder_layers=3, decoder_layers=1,
        encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48,
        decoder_ffn_dim=48, max_source_positions=100,
    ),
    "audio-spectrogram-transformer": dict(
        model_type="audio-spectrogram-transformer", hidden_size=32, num_hidden_layers=3,
        num_attention_heads=4, intermediate_size=48, max_length=256,
    ),
}  # fmt: skip


def stimuli(rate=16000, seed=0):
    rng = torch.Generator().manual_seed(seed)
    batch = 0.1 * torch.randn(3, rate, generator=rng)
    lengths = torch.tensor([rate, rate // 2 + 17, 3 * rate // 4])
    for row, length in enumerate(lengths):
        batch[row, length:] = 0
    return batch, lengths


def saved(tmp_path, name, seed=1):
    """A network of the library, initialised and saved by the library, biases and norms moved."""
    torch.manual_seed(seed)
    settings = dict(NETWORKS[name])
    config = transformers.AutoConfig.for_model(settings.pop("model_type"), **settings)
    network = transformers.AutoModel.from_config(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    folder = tmp_path / f"checkpoint-{seed * 100}"
    network.save_pretrained(folder)
    state = transformers.TrainerState(global_step=seed * 100)
    state.save_to_json(str(folder / "trainer_state.json"))
    return network, folder


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_saved_network_alone_and_padded_gives_the_librarys_own_activations(tmp_path, name):
    network, _ = saved(tmp_path, name)
    (found,) = checkpoints.find(tmp_path)
    assert (found.step, found.format) == (100, "huggingface")
    model = models.load("huggingface", found.uri)
    assert model.layers == ("embedding", "layer0", "layer1", "layer2")
    batch, lengths = stimuli()
    with torch.no_grad():
        alone = [model(batch[row : row + 1, : lengths[row]]) for row in range(3)]
        prepared = model.prepare(batch[:1], lengths[:1])[0]
        if name == "whisper":
            states = network.encoder(prepared, output_hidden_states=True).hidden_states
        else:
            states = network(prepared, output_hidden_states=True).hidden_states
        if name == "audio-spectrogram-transformer":
            states = [state[:, 2:].reshape(1, 12, -1, 32).mean(1) for state in states]
        for layer, expected in zip(model.layers, states):
            np.testing.assert_allclose(alone[0][layer], expected, atol=1e-6)
        if not model.batchable:
            assert name in ("wav2vec2-group", "data2vec-audio", "wav2vec2-conformer")
            assert "padding" in model.why_not_batchable
            equal_lengths_share_a_batch(model)
            return
        together = model(batch, lengths)
    for layer, counts in model.frames(lengths).items():
        for row in range(3):
            count = int(counts[row])
            assert 0 < count <= alone[row][layer].shape[1]
            np.testing.assert_allclose(
                together[layer][row, :count], alone[row][layer][0, :count], atol=1e-5
            )


@pytest.mark.parametrize("name", ["wav2vec2", "whisper", "audio-spectrogram-transformer"])
def test_weights_are_exchanged(tmp_path, name):
    _, first = saved(tmp_path, name, seed=1)
    _, second = saved(tmp_path, name, seed=2)
    model = models.load("huggingface", first)
    other = models.load("huggingface", second)
    batch, _ = stimuli()
    with torch.no_grad():
        before = model(batch)["layer2"]
        model.load_weights(checkpoints.read(second))
        np.testing.assert_array_equal(model(batch)["layer2"], other(batch)["layer2"])
    assert not torch.equal(before, other(batch)["layer2"])


def test_a_pretraining_network_with_its_heads_is_accepted(tmp_path):
    settings = dict(NETWORKS["wav2vec2"])
    del settings["model_type"]
    network = transformers.Wav2Vec2ForPreTraining(transformers.Wav2Vec2Config(**settings)).eval()
    network.save_pretrained(tmp_path / "checkpoint-7")
    model = models.load("huggingface", tmp_path / "checkpoint-7")
    batch, _ = stimuli()
    with torch.no_grad():
        prepared, _ = model.prepare(batch)
        expected = network.wav2vec2(prepared, output_hidden_states=True).hidden_states[-1]
        np.testing.assert_allclose(model(batch)["layer2"], expected, atol=1e-6)


def test_names_of_older_transformers_are_translated(tmp_path):
    network, _ = saved(tmp_path, "wav2vec2")
    old = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): value
        for name, value in network.state_dict().items()
    }
    assert any(name.endswith("weight_g") for name in old)
    model = models.load("huggingface", old, config=NETWORKS["wav2vec2"])
    for name, value in model.network.state_dict().items():
        np.testing.assert_array_equal(value, network.state_dict()[name])


def test_the_same_seed_gives_the_same_initial_weights():
    one, two, other = (
        models.load("huggingface", config=NETWORKS["hubert"], seed=seed) for seed in (3, 3, 4)
    )
    name = "encoder.layers.0.attention.q_proj.weight"
    np.testing.assert_array_equal(one.network.state_dict()[name], two.network.state_dict()[name])
    assert not torch.equal(one.network.state_dict()[name], other.network.state_dict()[name])


def test_waveforms_are_normalised_as_the_feature_extractor_does(tmp_path):
    _, folder = saved(tmp_path, "wav2vec2-group")
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True, sampling_rate=16000)
    extractor.save_pretrained(folder)
    model = models.load("huggingface", folder)
    assert model.normalise
    batch, lengths = stimuli()
    found, _ = model.prepare(batch, lengths)
    for row, length in enumerate(lengths):
        expected = extractor(batch[row, :length].numpy(), sampling_rate=16000)["input_values"][0]
        np.testing.assert_allclose(found[row, :length], expected, atol=1e-5)
        assert not found[row, length:].any()


def test_frame_times():
    wave = models.load("huggingface", config=NETWORKS["wav2vec2"])
    assert wave.frame_times["layer0"] == pytest.approx((0.0125, 0.02))
    whisper = models.load("huggingface", config=NETWORKS["whisper"])
    assert whisper.frame_times["layer0"] == pytest.approx((0.0, 0.02))
    with pytest.raises(ValueError, match=r"3\.0 s is longer than the network's window of 2\.0 s"):
        whisper(torch.zeros(1, 48000))
    ast = models.load("huggingface", config=NETWORKS["audio-spectrogram-transformer"])
    # a patch is 16 frames of 25 ms every 10 ms, one every 10 frames
    assert ast.frame_times["layer0"] == pytest.approx((0.0125 + 0.075, 0.1))
    a_click_keeps_its_time(whisper)
    settings = NETWORKS["audio-spectrogram-transformer"] | {"max_length": 512}
    a_click_keeps_its_time(models.load("huggingface", config=settings))


def test_a_checkpoint_of_another_size_and_one_without_configuration_are_refused(tmp_path):
    _, folder = saved(tmp_path, "wav2vec2")
    with pytest.raises(ValueError, match=r"in the checkpoint and .* in the network"):
        models.load("huggingface", folder, config=NETWORKS["wav2vec2"] | {"intermediate_size": 64})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").unlink()
    with pytest.raises(ValueError, match=r"no config\.json beside the checkpoint"):
        models.load("huggingface", folder)
    assert models.load("huggingface", folder, config=config).layers[-1] == "layer2"


def test_a_network_that_takes_no_waveforms_says_what_to_use_instead():
    config = {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 1,
              "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 10}  # fmt: skip
    with pytest.raises(ValueError, match=r"BertModel does not take waveforms.*`module`"):
        models.load("huggingface", config=config)


def test_checkpoints_of_a_trainer_run_are_found_in_order_and_read(tmp_path):
    pytest.importorskip("accelerate", reason="transformers' Trainer needs accelerate")
    settings = {key: value for key, value in NETWORKS["wav2vec2"].items() if key != "model_type"}
    torch.manual_seed(0)
    network = transformers.Wav2Vec2ForSequenceClassification(
        transformers.Wav2Vec2Config(**settings, num_labels=2, classifier_proj_size=8)
    )
    data = [{"input_values": torch.randn(8000), "labels": n % 2} for n in range(8)]
    trainer = transformers.Trainer(
        network,
        transformers.TrainingArguments(
            tmp_path, max_steps=6, save_steps=2, per_device_train_batch_size=2, report_to=[],
            use_cpu=True, disable_tqdm=True, save_total_limit=None,
        ),
        train_dataset=data,
    )  # fmt: skip
    trainer.train()
    found = checkpoints.find(tmp_path)
    assert [(c.step, c.format) for c in found] == [(s, "huggingface") for s in (2, 4, 6)]
    model = models.load("huggingface", found[0].uri)
    model.load_weights(checkpoints.read(found[-1].uri))
    name = "encoder.layers.1.feed_forward.output_dense.weight"
    np.testing.assert_array_equal(
        model.network.state_dict()[name], network.wav2vec2.state_dict()[name].detach()
    )


def test_an_untrained_control_takes_its_sizes_from_the_checkpoint(tmp_path):
    _, folder = saved(tmp_path, "wavlm")
    trained = models.load("huggingface", folder)
    control = models.untrained("huggingface", folder, seed=3)
    name = "network.encoder.layers.0.attention.q_proj.weight"
    assert control.state_dict()[name].shape == trained.state_dict()[name].shape
    assert not torch.equal(control.state_dict()[name], trained.state_dict()[name])


def rewrite(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("name", ["wav2vec2", "whisper", "audio-spectrogram-transformer"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_half_and_double_precision_run_in_single_with_the_saved_values(tmp_path, name, dtype):
    network, _ = saved(tmp_path, name)
    folder = tmp_path / "other"
    network.to(dtype).save_pretrained(folder)
    assert str(dtype).removeprefix("torch.") in (folder / "config.json").read_text()
    model = models.load("huggingface", folder)
    state = {n: v.float() for n, v in checkpoints.read(folder).items()}
    reference = models.load("huggingface", state, config=NETWORKS[name])
    batch, _ = stimuli()
    found, expected = model(batch)["layer2"], reference(batch)["layer2"]
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found, expected)
    assert f"weights of {str(dtype).removeprefix('torch.')} computed in float32" in model.notes


@pytest.mark.parametrize("place", ["processor", "preprocessor", "run", "config"])
def test_normalisation_is_found_wherever_it_is_kept(tmp_path, place):
    _, folder = saved(tmp_path, "wav2vec2-group")
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True, sampling_rate=16000)
    settings = extractor.to_dict()
    if place == "processor":
        (folder / "processor_config.json").write_text(json.dumps({"feature_extractor": settings}))
        # The nested one counts, as in transformers.
        without = json.dumps(settings | {"do_normalize": False})
        (folder / "preprocessor_config.json").write_text(without)
        assert transformers.Wav2Vec2FeatureExtractor.from_pretrained(folder).do_normalize
    elif place == "preprocessor":
        extractor.save_pretrained(folder)
    elif place == "run":
        extractor.save_pretrained(folder.parent)
    else:
        rewrite(folder / "config.json", feature_extractor_config=settings)
    model = models.load("huggingface", folder)
    assert model.normalise and "do_normalize True of " in model.notes[0]
    batch, _ = stimuli()
    expected = extractor(batch[0].numpy(), sampling_rate=16000)["input_values"][0]
    np.testing.assert_allclose(model.prepare(batch)[0][0], expected, atol=1e-5)


def test_settings_of_ast_are_taken_from_the_processor(tmp_path):
    _, folder = saved(tmp_path, "audio-spectrogram-transformer")
    settings = {"mean": -3.0, "std": 2.0, "do_normalize": True, "sampling_rate": 16000}
    (folder / "processor_config.json").write_text(json.dumps({"feature_extractor": settings}))
    model = models.load("huggingface", folder)
    extractor = transformers.ASTFeatureExtractor(max_length=256, mean=-3.0, std=2.0)
    batch, _ = stimuli()
    expected = extractor(batch[0].numpy(), sampling_rate=16000, return_tensors="pt")["input_values"]
    np.testing.assert_array_equal(model.prepare(batch[:1])[0], expected)


def test_code_beside_a_configuration_is_neither_run_nor_asked_about(tmp_path, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it asks"))
    _, folder = saved(tmp_path, "wav2vec2")
    marker = tmp_path / "ran"
    (folder / "own.py").write_text(
        f"open({str(marker)!r}, 'w').close()\n"
        "from transformers import Wav2Vec2Config as Own, Wav2Vec2Model as Net\n"
    )
    rewrite(
        folder / "config.json",
        auto_map={"AutoConfig": "own.Own", "AutoModel": "own.Net"}, model_type="own_thing",
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"code of its own .* `trust_checkpoints: true`"):
        models.load("huggingface", folder)
    assert not marker.exists()
    rewrite(folder / "config.json", model_type="wav2vec2")  # a family of transformers' own
    assert models.load("huggingface", folder).layers[-1] == "layer2"
    assert not marker.exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda s: {f"wav2vec2.{n}": v for n, v in s.items()} | {"lm_head.weight": torch.ones(3)},
        lambda s: {f"model.wav2vec2.{n}": v for n, v in s.items()} | {"loss.w": torch.ones(3)},
        lambda s: {f"module._orig_mod.{n}": v for n, v in s.items()},
        lambda s: s | {"project_hid.weight": torch.ones(3), "quantizer.codevectors": torch.ones(3)},
        lambda s: s | {"encoder.position_ids": torch.arange(3)},
        lambda s: {n: v for n, v in s.items() if "masked_spec_embed" not in n},
    ],
)
def test_prefixes_heads_and_constants_around_a_base_model_are_resolved(tmp_path, change):
    network, _ = saved(tmp_path, "wav2vec2")
    model = models.load("huggingface", change(network.state_dict()), config=NETWORKS["wav2vec2"])
    for name, value in model.network.state_dict().items():
        if "masked_spec_embed" not in name:
            np.testing.assert_array_equal(value, network.state_dict()[name])


def test_layers_that_the_configuration_has_not_and_missing_ones_are_refused(tmp_path):
    network, _ = saved(tmp_path, "wav2vec2")
    fewer = NETWORKS["wav2vec2"] | {"num_hidden_layers": 2}
    with pytest.raises(ValueError, match=r"the network does not know \(encoder\.layers\.2"):
        models.load("huggingface", network.state_dict(), config=fewer)
    more = NETWORKS["wav2vec2"] | {"num_hidden_layers": 4}
    with pytest.raises(ValueError, match=r"lacks 16 weights \(encoder\.layers\.3"):
        models.load("huggingface", network.state_dict(), config=more)


@pytest.mark.parametrize("name", NETWORKS)
def test_hidden_states_are_not_written_into_after_they_are_collected(name):
    """Compared with copies that hooks take when each layer has run."""
    model = models.load("huggingface", config=NETWORKS[name])
    body = getattr(model.network, "encoder", model.network)
    copies, batch = [], stimuli()[0][:1]
    handles = [
        layer.register_forward_hook(
            lambda _m, _i, out: copies.append((out[0] if isinstance(out, tuple) else out).clone())
        )
        for layer in body.layers
    ]
    prepared = model.prepare(batch)
    with torch.no_grad():
        if name == "whisper":
            states = model.network.encoder(prepared[0], output_hidden_states=True).hidden_states
        else:
            states = model.network(prepared[0], output_hidden_states=True).hidden_states
    for handle in handles:
        handle.remove()
    # The last state has the final norm, where there is one.
    for copy, state in zip(copies[:-1], states[1:-1]):
        np.testing.assert_array_equal(copy, state)


def test_code_beside_a_configuration_does_not_run(tmp_path):
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Own: pass\n")
    settings = {"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match="which is not run"):
        models.load("huggingface", None, state={}, config=str(tmp_path))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["wav2vec2", "hubert", "wavlm", "unispeech-sat", "data2vec-audio"])
def test_every_layer_is_what_its_block_gives_the_last_one_too(tmp_path, name):
    """Not what a norm after the last block makes of it, in which versions of the library differ."""
    network, folder = saved(tmp_path, name)
    given = []
    for block in network.encoder.layers:
        block.register_forward_hook(
            lambda _m, _i, out: given.append(out[0] if isinstance(out, tuple) else out)
        )
    model = models.load("huggingface", folder)
    batch, lengths = stimuli()
    with torch.no_grad():
        last = network(model.prepare(batch[:1], lengths[:1])[0]).last_hidden_state
        found = model(batch[:1])
    assert len(given) == 3
    for number, expected in enumerate(given):
        # The same operations in the same order: float32 rounding of another batching at most.
        np.testing.assert_allclose(found[f"layer{number}"], expected, atol=1e-6)
    pre_norm = NETWORKS[name].get("do_stable_layer_norm", False)
    assert pre_norm == (not np.allclose(found["layer2"], last, atol=1e-2))


def test_whispers_last_layer_is_what_the_decoder_hears(tmp_path):
    network, folder = saved(tmp_path, "whisper")
    model = models.load("huggingface", folder)
    batch, lengths = stimuli()
    with torch.no_grad():
        last = network.encoder(model.prepare(batch[:1], lengths[:1])[0]).last_hidden_state
        np.testing.assert_allclose(model(batch[:1])["layer2"], last, atol=1e-6)

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import s3prl_files
import torch
from adapters import equal_lengths_share_a_batch

from dynamics import checkpoints, models
from dynamics.models import s3prl as adapter
from dynamics.models.s3prl import hub


def test_the_hub_imports_beside_the_installed_torchaudio_and_knows_its_upstreams():
    assert len(adapter.import_hub().options()) >= 190
    assert {"tera_local", "hubert_local", "wav2vec2_local"} <= set(adapter.upstreams())


@pytest.mark.slow
def test_the_import_says_nothing_and_leaves_logging_alone():
    code = (
        "import logging; from dynamics.models import s3prl; s3prl.upstreams();"
        "assert not logging.getLogger().handlers"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_the_supplied_sox_effects_raise():
    adapter.import_hub()
    import torchaudio

    if not torchaudio.sox_effects.apply_effects_tensor.__module__.startswith("dynamics"):
        pytest.skip("this torchaudio still has sox_effects")
    with pytest.raises(RuntimeError, match=r"gone from torchaudio 2\.9"):
        torchaudio.sox_effects.apply_effects_tensor()


@pytest.mark.parametrize(
    "name",
    [*s3prl_files.FAMILIES]
    + [pytest.param(name, marks=pytest.mark.slow) for name in s3prl_files.LARGE],
)
def test_an_upstream_built_from_its_own_checkpoint_gives_what_s3prl_gives(tmp_path, name):
    path = s3prl_files.save(tmp_path / "states-100.ckpt", name, step=100, seed=1)
    (found,) = checkpoints.find(tmp_path)
    assert found.step == 100
    model = models.load("s3prl", found.uri, name=name)
    with adapter.quiet():
        from s3prl.nn import S3PRLUpstream

        reference = S3PRLUpstream(name, path_or_url=str(path)).eval()
    wave = 0.1 * torch.randn(1, 16000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), adapter.quiet():
        expected, counts = reference(wave, torch.tensor([16000]))
    found = model(wave)
    assert len(model.layers) == len(expected)
    for layer, values, count in zip(model.layers, expected, counts):
        np.testing.assert_allclose(found[layer], values, atol=1e-5)
        assert model.frames(torch.tensor([16000]))[layer] == count == found[layer].shape[1]
    if not model.batchable:
        assert "frames of the longest" in model.why_not_batchable
        # of random weights, in which rounding grows beyond 1e-5: it runs one by one
        if name not in ("lighthubert_local", "decoar2_local"):
            equal_lengths_share_a_batch(model)


@pytest.mark.parametrize("name", ["tera_local", "hubert_custom", "apc_local", "wavlm_local"])
def test_weights_are_exchanged_and_misfits_refused(tmp_path, name):
    first = s3prl_files.save(tmp_path / "states-1.ckpt", name, step=1, seed=1)
    second = s3prl_files.save(tmp_path / "states-2.ckpt", name, step=2, seed=2)
    model = models.load("s3prl", first, name=name)
    other = models.load("s3prl", second, name=name)
    wave = 0.1 * torch.randn(1, 8000, generator=torch.Generator().manual_seed(0))
    last = model.layers[-1]
    before = model(wave)[last]
    state = checkpoints.read(second)
    model.load_weights(state)
    np.testing.assert_array_equal(model(wave)[last], other(wave)[last])
    assert not torch.equal(before, model(wave)[last])
    broken = dict(state)
    key = next(iter(broken))
    del broken[key]
    with pytest.raises(ValueError, match="lacks 1 weights"):
        model.load_weights(broken)
    with pytest.raises(ValueError, match="NaN or infinite weights"):
        model.load_weights({**state, key: torch.full_like(state[key].float(), float("nan"))})
    np.testing.assert_array_equal(model(wave)[last], other(wave)[last])


def test_a_setting_that_would_run_code_is_refused(tmp_path):
    """s3prl evaluates some settings of a checkpoint as Python."""
    path = s3prl_files.save(tmp_path / "states-1.ckpt", "hubert_custom", step=1, seed=1)
    contents = torch.load(path, weights_only=True)
    target = tmp_path / "created"
    contents["model_cfg"]["conv_feature_layers"] = (
        f"[__import__('os').mkdir({str(target)!r}), (16, 10, 5)][1:]"
    )
    torch.save(contents, path)
    with pytest.raises(ValueError, match=r"'conv_feature_layers'.*trust_checkpoints"):
        models.load("s3prl", path, name="hubert_custom")
    assert not target.exists()


def test_randomised_weights_follow_the_seed(tmp_path):
    path = s3prl_files.save(tmp_path / "states-1.ckpt", "tera_local", step=1, seed=1)
    wave = 0.1 * torch.randn(1, 8000, generator=torch.Generator().manual_seed(0))
    trained, one, two, other = (
        models.load("s3prl", path, name="tera_local", **arguments)(wave)["hidden2"]
        for arguments in (
            {}, {"randomize": True, "seed": 1}, {"randomize": True, "seed": 1},
            {"randomize": True, "seed": 2},
        )
    )  # fmt: skip
    np.testing.assert_array_equal(one, two)
    assert not torch.allclose(one, other) and not torch.allclose(one, trained)


def test_upstreams_without_weights_run_and_unknown_ones_are_named():
    model = models.load("s3prl", name="fbank")
    assert model(torch.randn(1, 16000))["hidden0"].shape[:2] == (1, 100)
    with pytest.raises(ValueError, match="no upstream 'hubret'"):
        models.load("s3prl", name="hubret")
    with pytest.raises(ValueError, match="give it a checkpoint"):
        models.load("s3prl", name="hubert_local")


def test_upstreams_that_lack_a_package_are_told_from_those_that_run(tmp_path, monkeypatch):
    assert not any(adapter.needs(name) for name in s3prl_files.FAMILIES | s3prl_files.LARGE)
    assert adapter.needs("mos_tera_local") == "sox_effects"
    monkeypatch.setattr(hub, "_is_there", lambda module: False)
    assert adapter.needs("pase_local") == "pase"
    with pytest.raises(ValueError, match="espnet_hubert_local with espnet2, which is not inst"):
        models.load("s3prl", {}, name="espnet_hubert_local")
    monkeypatch.setattr(hub, "_is_there", lambda module: True)
    assert not adapter.needs("pase_local")


def test_no_upstream_that_takes_a_checkpoint_is_left_out(monkeypatch):
    def family(name):
        return name.rpartition("_")[0]

    tested = {family(name) for name in s3prl_files.FAMILIES | s3prl_files.LARGE}
    tested |= {"hf_hubert", "hf_wav2vec2"}  # folders of transformers, below
    monkeypatch.setattr(hub, "_is_there", lambda module: False)
    others = {
        family(name)
        for name in adapter.upstreams()
        if name.endswith(("_local", "_custom")) and not adapter.needs(name)
    }
    # The settings of a front end without weights are what `baseline_local` takes.
    assert others - tested == {"baseline"}
    # PASE+ is in no registry. ESPnet installs beside setuptools below 74 only.
    lacking = {family(name) for name in adapter.upstreams() if adapter.needs(name)} - {""}
    assert {"pase", "espnet_hubert"} <= lacking


def test_a_checkpoint_of_another_family_is_one_sentence(tmp_path):
    path = s3prl_files.save(tmp_path / "states-1.ckpt", "apc_local", step=1, seed=1)
    with pytest.raises(ValueError, match="s3prl cannot build tera_local") as caught:
        models.load("s3prl", path, name="tera_local")
    assert "\n" not in str(caught.value)


def test_a_file_that_s3prl_takes_without_its_weights_is_refused(tmp_path):
    """CPC's loader ignores what does not fit and keeps random weights."""
    path = s3prl_files.save(tmp_path / "states-1.ckpt", "cpc_local", step=1, seed=1)
    contents = torch.load(path, weights_only=False)
    contents["weights"] = {f"other.{name}": v for name, v in contents["weights"].items()}
    torch.save(contents, path)
    with pytest.raises(ValueError, match="did not get into it"):
        models.load("s3prl", path, name="cpc_local")


@pytest.mark.parametrize("kind", ["Hubert", "Wav2Vec2"])
def test_folders_of_transformers_are_built_and_their_weights_exchanged(tmp_path, kind):
    transformers = pytest.importorskip("transformers")
    folders = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        config = getattr(transformers, f"{kind}Config")(
            hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=32,
            conv_dim=[16] * 7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4,
            feat_extract_norm="layer", do_stable_layer_norm=True,
        )  # fmt: skip
        folders.append(tmp_path / f"checkpoint-{seed}")
        getattr(transformers, f"{kind}Model")(config).save_pretrained(folders[-1])
        transformers.Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(
            folders[-1]
        )
    model, other = (models.load("s3prl", f, name=f"hf_{kind.lower()}_custom") for f in folders)
    wave = 0.1 * torch.randn(1, 8000, generator=torch.Generator().manual_seed(0))
    before = model(wave)["hidden2"]
    model.load_weights(checkpoints.read(folders[1]))
    np.testing.assert_array_equal(model(wave)["hidden2"], other(wave)["hidden2"])
    assert not torch.equal(before, other(wave)["hidden2"])


def test_exchanged_weights_are_where_the_network_is_and_in_evaluation_mode(tmp_path):
    first = s3prl_files.save(tmp_path / "states-1.ckpt", "tera_local", step=1, seed=1)
    second = s3prl_files.save(tmp_path / "states-2.ckpt", "tera_local", step=2, seed=2)
    model = models.load("s3prl", first, name="tera_local").to("meta")
    model.load_weights(checkpoints.read(second))
    places = {t.device.type for t in (*model.parameters(), *model.buffers())}
    assert places == {"meta"}
    assert not any(module.training for module in model.modules())


def test_names_of_wrappers_and_half_precision_are_resolved_against_the_first_file(tmp_path):
    first = s3prl_files.save(tmp_path / "states-1.ckpt", "hubert_custom", step=1, seed=1)
    second = s3prl_files.save(tmp_path / "states-2.ckpt", "hubert_custom", step=2, seed=2)
    model, other = (models.load("s3prl", path, name="hubert_custom") for path in (first, second))
    state = checkpoints.read(second)
    wrapped = {f"module.{name}": value for name, value in state.items()}
    wave = 0.1 * torch.randn(1, 8000, generator=torch.Generator().manual_seed(0))
    model.load_weights(wrapped)
    np.testing.assert_array_equal(model(wave)["hidden2"], other(wave)["hidden2"])
    half = {n: v.half() if v.is_floating_point() else v for n, v in state.items()}
    model.load_weights(half)
    other.load_weights({n: v.to(state[n].dtype) for n, v in half.items()})
    np.testing.assert_array_equal(model(wave)["hidden2"], other(wave)["hidden2"])
    assert "weights of float16 computed in float32" in model.notes


def test_a_folder_of_transformers_in_half_precision_runs_in_single(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.HubertConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=32,
        conv_dim=[16] * 7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4,
        feat_extract_norm="layer", do_stable_layer_norm=True,
    )  # fmt: skip
    torch.manual_seed(1)
    transformers.HubertModel(config).half().save_pretrained(tmp_path)
    transformers.Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(tmp_path)
    model = models.load("s3prl", tmp_path, name="hf_hubert_custom")
    assert model(torch.zeros(1, 8000))["hidden2"].dtype == torch.float32


@pytest.mark.parametrize("name", ["tera_local", "hubert_custom"])
def test_an_average_in_the_file_is_what_is_run_where_it_is_asked_for(tmp_path, name):
    """Also of the first file, from whose contents s3prl builds the network."""
    place = s3prl_files.save(tmp_path / "states-1.ckpt", name, step=1, seed=1)
    other = s3prl_files.save(tmp_path / "states-2.ckpt", name, step=2, seed=2)
    content = torch.load(place, weights_only=False)
    average = checkpoints.read(other)
    keys = {key.partition(".")[0] for key in average}
    nested = (
        {key: dict(content_of(average, key)) for key in keys} if name == "tera_local" else average
    )
    torch.save(content | {"ema": nested}, tmp_path / "both-1.ckpt")
    sound = 0.1 * torch.randn(1, 8000, generator=torch.Generator().manual_seed(0))
    for wanted, path in (("trained", place), ("ema", other)):
        found = models.load("s3prl", tmp_path / "both-1.ckpt", name=name, weights=wanted)(sound)
        expected = models.load("s3prl", path, name=name)(sound)
        for layer, values in expected.items():
            np.testing.assert_allclose(found[layer], values, atol=1e-6)


def content_of(state, key):
    return {n.removeprefix(f"{key}."): v for n, v in state.items() if n.startswith(f"{key}.")}

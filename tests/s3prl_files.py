"""Checkpoints of s3prl's families: small networks that s3prl's own classes initialise and save."""

from __future__ import annotations

import torch

from dynamics.models.s3prl import import_hub, quiet

TRANSFORMER = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "hidden_act": "gelu",
    "intermediate_size": 32, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
    "initializer_range": 0.02, "layer_norm_eps": 1e-12, "share_layer": False,
    "pre_layer_norm": False,
}  # fmt: skip
FBANK = {
    "kaldi": {
        "feat_type": "fbank",
        "fbank": {
            "frame_length": 25.0, "frame_shift": 10.0, "num_mel_bins": 20, "use_log_fbank": True,
            "dither": 0.0,
        },
    },
    "delta": {"order": 0, "win_length": 5},
    "cmvn": {"use_cmvn": True},
}  # fmt: skip
CONVOLUTIONS = "[(16, 10, 5)] + [(16, 3, 2)] * 4 + [(16, 2, 2)] * 2"
WAVES = {
    "extractor_mode": "layer_norm", "conv_feature_layers": CONVOLUTIONS, "encoder_layers": 2,
    "encoder_embed_dim": 24, "encoder_ffn_embed_dim": 32, "encoder_attention_heads": 3,
    "conv_pos": 16, "conv_pos_groups": 4, "final_dim": 8, "layer_norm_first": True,
}  # fmt: skip


def transformer(step, *, share=False):
    from s3prl.upstream.mockingjay import model

    settings = TRANSFORMER | {"share_layer": share}
    config = model.TransformerConfig(settings)
    return {
        "Optimizer": {"state": {}, "param_groups": []},
        "Step": step,
        "Config": {"runner": {"total_steps": 100}},
        "Upstream_Config": {
            "transformer": settings, "audio": FBANK, "task": {"sequence_length": 1500},
        },
        "Transformer": model.TransformerModel(config, 20).state_dict(),
        "SpecHead": model.TransformerSpecPredictionHead(config, 20).state_dict(),
    }  # fmt: skip


def albert(step):
    return transformer(step, share=True)


def _acoustic(network, paras, step):
    audio = {
        "feat_type": "fbank", "feat_dim": 20, "frame_length": 25, "frame_shift": 10, "cmvn": True,
    }  # fmt: skip
    return {
        "model": network(20, **paras).state_dict(),
        "config": {"data": {"audio": audio}, "model": {"paras": paras}},
        "step": step,
    }


def apc(step):
    from s3prl.upstream.apc.apc import APC

    paras = {"hidden_size": 16, "num_layers": 3, "dropout": 0.1, "residual": True}
    return _acoustic(APC, paras, step)


def npc(step):
    from s3prl.upstream.npc.npc import NPC

    paras = {
        "hidden_size": 16, "n_blocks": 2, "dropout": 0.1, "residual": True, "kernel_size": 15,
        "mask_size": 5,
    }  # fmt: skip
    return _acoustic(NPC, paras, step)


def hubert(step):
    from s3prl.upstream.hubert import hubert_model

    return _of_units(step, hubert_model, "Hubert", {}, labels=1)


def multires_hubert(step):
    from s3prl.upstream.multires_hubert import hubert_model

    settings = {"label_rate_ratios": [1, 2], "conv_adapator_kernal": 1}
    return _of_units(step, hubert_model, "MultiresHubert", settings, labels=2)


def _of_units(step, room, kind, settings, *, labels):
    from s3prl.upstream.utils import merge_with_parent

    settings = WAVES | {"label_rate": 50.0} | settings
    task = {"normalize": True, "sample_rate": 16000, "label_rate": 50.0}
    symbols = [["a", "b"]] * labels
    network = getattr(room, f"{kind}Model")(
        merge_with_parent(getattr(room, f"{kind}Config"), settings),
        merge_with_parent(getattr(room, f"{kind}PretrainingConfig"), task),
        symbols,
    )
    return {
        "task_cfg": task, "model_cfg": settings, "model_weight": network.state_dict(),
        "dictionaries_symbols": symbols, "step": step,
    }  # fmt: skip


def wav2vec2(step):
    from s3prl.upstream.utils import merge_with_parent
    from s3prl.upstream.wav2vec2.wav2vec2_model import Wav2Vec2Config, Wav2Vec2Model

    network = Wav2Vec2Model(merge_with_parent(Wav2Vec2Config, WAVES))
    return {
        "task_cfg": {"normalize": True}, "model_cfg": WAVES, "model_weight": network.state_dict(),
        "step": step,
    }  # fmt: skip


def wavlm(step):
    from s3prl.upstream.wavlm.WavLM import WavLM, WavLMConfig

    settings = vars(WavLMConfig()) | WAVES | {"relative_position_embedding": True, "num_buckets": 8}
    settings |= {"max_distance": 20, "gru_rel_pos": True}
    return {"cfg": settings, "model": WavLM(WavLMConfig(settings)).state_dict(), "step": step}


def lighthubert(step):
    from s3prl.upstream.lighthubert.lighthubert import LightHuBERT, LightHuBERTConfig

    # The largest of s3prl's small ones: width, heads and depth of its subnets stand in its code.
    settings = {
        "_name": "student_hubert", "supernet_type": "small", "conv_feature_layers": CONVOLUTIONS,
        "encoder_embed_dim": 512, "encoder_ffn_embed_dim": 2048, "encoder_attention_heads": 8,
        "conv_pos": 16, "conv_pos_groups": 4,
    }  # fmt: skip
    network = LightHuBERT(LightHuBERTConfig(settings))
    return {"cfg": {"model": settings}, "model": network.state_dict(), "step": step}


def decoar(step):
    from s3prl.upstream.decoar.decoar import Decoar

    return {"model": Decoar().state_dict(), "step": step}


def decoar2(step):
    from s3prl.upstream.decoar2.decoar2 import Decoar2

    return {"model": Decoar2().state_dict(), "step": step}


def distiller(step):
    from s3prl.upstream.distiller.model import DistillerConfig, DistillerModel

    settings = {
        "extractor_conv_feature_layers": CONVOLUTIONS, "conv_pos": 16, "conv_pos_groups": 4,
        "encoder_layers": 2, "encoder_embed_dim": 24, "encoder_ffn_embed_dim": 32,
        "encoder_attention_heads": 3, "final_dim": 24, "n_tasks": 2, "task_emb_type": "expand-last",
        "extractor_mode": "layer_norm",
    }  # fmt: skip
    network = DistillerModel(DistillerConfig(settings))
    return {"Config": {"distiller": settings}, "Distiller": network.state_dict(), "Step": step}


def data2vec(step):
    from s3prl.upstream.data2vec.data2vec_model import Data2VecAudioConfig, Data2VecAudioModel
    from s3prl.upstream.utils import merge_with_parent

    settings = WAVES | {"conv_pos": 16, "pos_conv_depth": 2, "average_top_k_layers": 2}
    network = Data2VecAudioModel(merge_with_parent(Data2VecAudioConfig, settings))
    network.remove_pretraining_modules()
    return {
        "task_cfg": {"normalize": True}, "model_cfg": settings, "step": step,
        "model_weight": network.state_dict() | {"_ema": torch.zeros(3)},
    }  # fmt: skip


def cpc(step):
    from s3prl.upstream.cpc.cpc_default_config import get_default_cpc_config
    from s3prl.upstream.cpc.feature_loader import getAR, getEncoder
    from s3prl.upstream.cpc.model import CPCModel

    settings = get_default_cpc_config()
    settings.hiddenEncoder = settings.hiddenGar = 16
    network = CPCModel(getEncoder(settings), getAR(settings))
    return {"config": vars(settings), "weights": network.state_dict(), "step": step}


def wav2vec(step, **changes):
    from s3prl.upstream.utils import merge_with_parent
    from s3prl.upstream.wav2vec.wav2vec_model import Wav2VecConfig, Wav2VecModel

    settings = {
        "infonce": True, "conv_feature_layers": "[(16, 10, 5), (16, 8, 4), (16, 4, 8)]",
        "conv_aggregator_layers": "[(16, 2, 1), (16, 3, 1)]",
    } | changes  # fmt: skip
    network = Wav2VecModel(merge_with_parent(Wav2VecConfig, settings))
    return {
        "task_cfg": {"normalize": False}, "model_cfg": settings,
        "model_weight": network.state_dict(), "step": step,
    }  # fmt: skip


def vq_wav2vec(step):
    return wav2vec(step, vq_type="gumbel", vq_vars=8, vq_groups=2, vq_dim=16)


def mae_ast(step):
    import dataclasses

    from s3prl.upstream.mae_ast.load_model import MAE_AST_Pretraining_Config
    from s3prl.upstream.mae_ast.mae_ast import MAE_AST, MAE_AST_Config

    config = MAE_AST_Config(
        encoder_layers=2, encoder_embed_dim=24, encoder_ffn_embed_dim=32,
        encoder_attention_heads=3, decoder_layers=1, decoder_embed_dim=24, max_token_length=2000,
    )  # fmt: skip
    task = MAE_AST_Pretraining_Config(data="none", feature_type="fbank", feature_dim=32)
    network = MAE_AST(config, task)
    settings = {"model": dataclasses.asdict(config), "task": dataclasses.asdict(task)}
    return {"cfg": settings, "model": network.state_dict(), "step": step}


FAMILIES = {
    "tera_local": transformer, "mockingjay_local": transformer, "audio_albert_local": albert,
    "apc_local": apc, "npc_local": npc, "hubert_custom": hubert, "wav2vec2_custom": wav2vec2,
    "wavlm_local": wavlm, "unispeech_sat_local": wavlm, "distiller_local": distiller,
    "data2vec_custom": data2vec, "cpc_local": cpc, "wav2vec_custom": wav2vec,
    "vq_wav2vec_custom": vq_wav2vec, "multires_hubert_custom": multires_hubert,
    "mae_ast_local": mae_ast, "lighthubert_local": lighthubert,
}  # fmt: skip
# Their sizes stand in s3prl's code: 67 to 90 million weights each.
LARGE = {"decoar_local": decoar, "decoar_layers_local": decoar, "decoar2_local": decoar2}


def save(path, name, *, step, seed):
    """Save a checkpoint of one family, every bias and norm moved from where it starts."""
    import_hub()
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        contents = (FAMILIES | LARGE)[name](step)
        for value in contents.values():
            if isinstance(value, dict):
                for tensor in value.values():
                    if isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
                        tensor += 0.05 * torch.randn_like(tensor).abs()
    torch.save(contents, path)
    return path

"""Pretraining writes checkpoints that the adapter reads, resumes bit for bit, refuses overlap."""

from __future__ import annotations

import re

import numpy as np
import pytest
import soundfile
import soxr
import torch
from pydantic import ValidationError

from dynamics.models.encodecmae import build
from dynamics.reference import Pretraining, Source, pretrain
from dynamics.reference import training as room
from dynamics.reference.masked import RandomQuantiser, hide, prediction_loss
from dynamics.reference.recordings import Recordings, Synthesised
from dynamics.reference.synthesis import sound

TINY = {
    "steps": 6,
    "checkpoints": 4,
    "first_checkpoint": 1,
    "layers": 2,
    "width": 16,
    "heads": 2,
    "feed_forward": 24,
    "mels": 20,
    "batch_size": 3,
    "clip_seconds": 0.5,
    "codes": 8,
    "target_windows": (1, 3),
    "save_every": 2,
    "threads": 1,
    "sources": [{"synthetic": ["harmonic", "texture"], "sounds": 6}],
}


def tiny(folder, **changes):
    return Pretraining(folder=folder, **{**TINY, **changes})


def checkpoints(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.ckpt"))}


@pytest.fixture
def speech_folder(tmp_path):
    folder = tmp_path / "audio"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i, (kind, suffix) in enumerate([("speech", "wav"), ("melody", "flac"), ("call", "ogg")]):
        wave = sound(kind, rng, seconds=3.0)
        soundfile.write(folder / f"{i}.{suffix}", wave, 24000)
    return folder


def test_checkpoints_are_lightning_files_that_load_without_running_code(tmp_path):
    settings = tiny(tmp_path / "run")
    assert pretrain(settings) == tmp_path / "run"
    files = checkpoints(tmp_path / "run")
    assert list(files) == [f"epoch=0-step={step:06d}.ckpt" for step in settings.saved_steps]
    assert settings.saved_steps[0] == 0
    assert settings.saved_steps[-1] == 6
    for step in settings.saved_steps:
        path = tmp_path / "run" / f"epoch=0-step={step:06d}.ckpt"
        content = torch.load(path, weights_only=True)
        assert content["global_step"] == step
        assert content["hyper_parameters"]["heads"] == 2
        assert {"epoch", "state_dict", "optimizer_states", "lr_schedulers"} <= set(content)
        assert "pytorch-lightning_version" in content
        model = build(content["state_dict"], **settings.adapter_arguments)
        assert model.layers == ("layer0", "layer1")
        assert model(torch.zeros(1, 12000))["layer1"].shape == (1, 18, 16)


def test_the_untrained_checkpoint_is_the_adapters_fresh_network(tmp_path):
    pretrain(tiny(tmp_path))
    content = torch.load(tmp_path / "epoch=0-step=000000.ckpt", weights_only=True)
    fresh = build(None, heads=2, frames_per_token=2, layers=2, width=16, feed_forward=24, mels=20)
    for name, value in fresh.state_dict().items():
        assert torch.equal(content["state_dict"][name], value), name


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_an_interrupted_run_ends_with_the_same_bytes(tmp_path, stop):
    pretrain(tiny(tmp_path / "whole"))

    def interrupt(step, loss, rate):
        if step == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(tiny(tmp_path / "parts"), progress=interrupt)
    assert len(checkpoints(tmp_path / "parts")) < len(checkpoints(tmp_path / "whole"))
    steps = []
    pretrain(tiny(tmp_path / "parts"), progress=lambda step, loss, rate: steps.append(step))
    assert steps[0] > 1 or stop == 1
    assert steps[-1] == 6
    assert checkpoints(tmp_path / "parts") == checkpoints(tmp_path / "whole")


def test_a_finished_run_is_left_alone_and_other_settings_are_refused(tmp_path):
    pretrain(tiny(tmp_path))
    before = checkpoints(tmp_path)
    pretrain(tiny(tmp_path), progress=lambda *_: pytest.fail("trained again"))
    assert checkpoints(tmp_path) == before
    with pytest.raises(ValueError, match="holds a run with seed = 0, not 1"):
        pretrain(tiny(tmp_path, seed=1))
    (tmp_path / "trainer.state").write_bytes(b"x")
    with pytest.raises(ValueError, match="damaged"):
        pretrain(tiny(tmp_path))
    (tmp_path / "trainer.state").unlink()
    with pytest.raises(ValueError, match=r"no trainer\.state"):
        pretrain(tiny(tmp_path))
    assert not list(tmp_path.glob(".*"))


def test_training_lowers_the_loss(tmp_path):
    losses = []
    pretrain(
        tiny(tmp_path, steps=60, learning_rate=3e-3, warmup=5),
        progress=lambda step, loss, rate: losses.append(loss),
    )
    assert losses[0] == pytest.approx(np.log(8), abs=0.4)
    assert np.mean(losses[-10:]) < np.mean(losses[:5]) - 0.1


def test_progress_reports_every_step(tmp_path):
    seen = []
    pretrain(tiny(tmp_path), progress=lambda *call: seen.append(call))
    assert [step for step, _, _ in seen] == [1, 2, 3, 4, 5, 6]
    assert all(rate > 0 for _, _, rate in seen)


def test_recordings_of_every_format_are_resampled_and_joined(speech_folder):
    wave = sound("speech", np.random.default_rng(9), sample_rate=16000, seconds=1.0)
    soundfile.write(speech_folder / "stereo.wav", np.stack([wave, wave], axis=1), 16000)
    (speech_folder / "notes.txt").write_text("not audio, and nobody says so")
    recordings = Recordings(speech_folder)
    assert len(recordings.paths) == 4
    assert recordings.seconds == pytest.approx(10.4, abs=0.1)
    name, loaded, rate = list(recordings.files())[-1]
    assert name.endswith("stereo.wav")
    expected = soxr.resample(wave, 16000, rate, quality="HQ")
    np.testing.assert_allclose(loaded / 32767, expected, atol=1e-3)
    clip = recordings.clip(np.random.default_rng(0), 48000)
    assert clip.shape == (48000,)
    assert clip.dtype == np.float32
    assert len(Recordings(speech_folder, leave_out=["stereo*"]).paths) == 3
    assert len(Recordings(speech_folder, hours=2.5 / 3600).paths) == 1


def test_synthesised_sounds_depend_on_seed_and_number_alone():
    first, second = (
        Synthesised(("call", "chirp"), sounds=4, seconds=0.5, seed=1) for _ in range(2)
    )
    for _ in range(3):
        first.clip(np.random.default_rng(8), 6000)
    clips = [bank.clip(np.random.default_rng(2), 6000) for bank in (first, second)]
    assert np.array_equal(*clips)


def test_a_recording_with_an_evaluation_sound_is_refused(tmp_path, speech_folder):
    rng = np.random.default_rng(4)
    target = sound("speech", rng, sample_rate=44100, seconds=2.0)
    evaluation = [("stim1_talk", target, 44100)]
    settings = tiny(tmp_path / "run", sources=[{"folder": speech_folder}])
    pretrain(settings, evaluation=evaluation)
    inside = soxr.resample(target, 44100, 16000) * 0.2
    around = sound("melody", rng, sample_rate=16000, seconds=5.0)
    longer = np.concatenate([around[:30000], inside, around[30000:]])
    soundfile.write(speech_folder / "leak.ogg", longer, 16000)
    with pytest.raises(ValueError, match=r"leak\.ogg contains the evaluation sound stim1_talk"):
        pretrain(settings.model_copy(update={"folder": tmp_path / "b"}), evaluation=evaluation)
    assert not checkpoints(tmp_path / "b")
    spared = tiny(tmp_path / "c", sources=[{"folder": speech_folder, "leave_out": ["leak.*"]}])
    pretrain(spared, evaluation=evaluation)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "empty file"), (b"RIFF nonsense that is no sound at all", "not readable audio")],
)
def test_a_file_that_is_not_audio_is_named(tmp_path, speech_folder, content, message):
    (speech_folder / "broken.wav").write_bytes(content)
    with pytest.raises(ValueError, match=rf"broken\.wav is .*{message}"):
        pretrain(tiny(tmp_path / "run", sources=[{"folder": speech_folder}]))
    assert not checkpoints(tmp_path / "run")


def test_missing_and_silent_folders_are_named(tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(FileNotFoundError, match="no audio to pretrain on"):
        pretrain(tiny(tmp_path / "run", sources=[{"folder": tmp_path / "none"}]))
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        pretrain(tiny(tmp_path / "run", sources=[{"folder": tmp_path / "nowhere"}]))
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match="cannot write checkpoints to"):
        pretrain(tiny(tmp_path / "file" / "run"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps"),
        ({"stepz": 5}, "stepz"),
        ({"sources": []}, "sources"),
        ({"sources": [{"weight": 1.0}]}, "either `synthetic` or"),
        ({"sources": [{"synthetic": True, "folder": "x"}]}, "either `synthetic` or"),
        ({"sources": [{"synthetic": ["moo"]}]}, "unknown kind of sound 'moo'"),
        ({"sources": [{"synthetic": True, "weight": 0}]}, "weight"),
        ({"heads": 17}, "at most the width"),
        ({"clip_seconds": 0.2, "frames_per_token": 9}, "at least two tokens"),
        ({"mixing_softer": (6.0, 3.0)}, "mixing_softer"),
    ],
)
def test_bad_settings_are_named(tmp_path, changes, message):
    with pytest.raises(ValidationError, match=re.escape(message)):
        tiny(tmp_path, **changes)


def test_a_loss_that_diverges_stops_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "_update", lambda *_: float("nan"))
    with pytest.raises(ValueError, match="lower `learning_rate`"):
        pretrain(tiny(tmp_path))
    assert list(checkpoints(tmp_path)) == ["epoch=0-step=000000.ckpt"]


def test_checkpoint_steps_are_log_spaced():
    steps = Pretraining(folder="x", steps=1000, checkpoints=5, first_checkpoint=10).saved_steps
    assert steps == (0, 10, 46, 215, 1000)
    assert Pretraining(folder="x", steps=1, checkpoints=9).saved_steps == (0, 1)


def test_hidden_places_come_in_spans_and_equal_numbers():
    rng = np.random.default_rng(0)
    hidden = hide(rng, 50, 74, share=0.5, span=6)
    assert hidden.shape == (50, 37)
    runs = []
    for row in hidden.numpy():
        assert (np.diff(row) > 0).all()
        runs += [len(run) for run in np.split(row, np.where(np.diff(row) > 1)[0] + 1)]
    assert np.mean(runs) > 5
    assert hide(rng, 2, 2, share=0.99, span=6).shape == (2, 1)


def test_quantiser_equals_nearest_code_by_cosine():
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(2, 9, 5, generator=generator)
    quantiser = RandomQuantiser(tokens, windows=(1, 3), codes=7, dimension=4, seed=2)
    codes = quantiser(tokens)
    assert codes.shape == (2, 9, 2)
    standard = ((tokens - quantiser.mean) / quantiser.deviation).numpy()
    projection, mean, deviation, table = (part.numpy() for part in quantiser._books[1])
    for clip in range(2):
        for place in range(9):
            around = [min(max(place + d, 0), 8) for d in (-1, 0, 1)]
            # unfold puts the window last: every input's three values lie together
            window = standard[clip, around].T.ravel()
            vector = (window @ projection - mean) / deviation
            cosine = (vector / np.linalg.norm(vector)) @ (table / np.linalg.norm(table, axis=0))
            assert int(codes[clip, place, 1]) == int(cosine.argmax())


def test_loss_equals_the_plain_formula():
    logits = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(1))
    targets = torch.randint(5, (2, 3, 4), generator=torch.Generator().manual_seed(2))
    p = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(-1, keepdims=True)
    chosen = np.take_along_axis(p, targets.numpy()[..., None], axis=-1)
    assert float(prediction_loss(logits, targets)) == pytest.approx(-np.log(chosen).mean(), 1e-5)


def test_sources_are_drawn_by_weight(tmp_path):
    class Constant:
        def __init__(self, value):
            self.value = value

        def clip(self, rng, samples):
            return np.full(samples, self.value, dtype=np.float32)

    settings = tiny(
        tmp_path,
        sources=[Source(synthetic=True, weight=3), Source(synthetic=True, weight=1)],
        batch_size=400,
        mixing=0.0,
        level_spread=0.0,
    )
    heard = []
    spy = [Constant(1.0), Constant(-1.0)]
    for constant in spy:
        plain = constant.clip
        constant.clip = lambda rng, n, f=plain, v=constant.value: (heard.append(v), f(rng, n))[1]
    room._tokens(spy, settings, 0)
    assert np.mean(np.array(heard) > 0) == pytest.approx(0.75, abs=0.07)

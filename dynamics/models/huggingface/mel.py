"""Networks of transformers that take log-mel frames of a window of fixed length.

Radford et al. (2023), arXiv 2212.04356; Gong et al. (2021), arXiv 2104.01778.
"""

from __future__ import annotations

import torch

from dynamics.models.huggingface.model import HuggingFaceModel, preprocessor


class Whisper(HuggingFaceModel):
    """Whisper's encoder: it takes log-mel frames of a window that every stimulus is padded to."""

    def __init__(self, network, settings, *, folder=None, normalise=None):
        from transformers import WhisperFeatureExtractor

        super().__init__(network, settings)
        self.window = settings.max_source_positions * 320
        extractor = preprocessor(folder)
        self.sample_rate = int(extractor.get("sampling_rate", 16000))
        self.extractor = WhisperFeatureExtractor(
            feature_size=settings.num_mel_bins,
            sampling_rate=self.sample_rate,
            chunk_length=self.window // self.sample_rate,
        )
        self.extractor.n_samples = self.window
        # The decoder is not used: it need not be in memory, nor in the checkpoint.
        self.network.decoder = torch.nn.Identity()
        self._name_layers(settings.encoder_layers + 1)
        self.frame_times = dict.fromkeys(self.layers, (0.0, 320 / self.sample_rate))

    def prepare(self, waveforms, lengths=None):
        """Return log-mel frames (batch, mels, frames) of each stimulus, padded to the window."""
        waveforms, lengths = super().prepare(waveforms, lengths)
        return (_each(waveforms, lengths, self._features, self.window, self.sample_rate),)

    def _features(self, waveform):
        return self.extractor(
            waveform, sampling_rate=self.sample_rate, return_tensors="pt", max_length=self.window
        )["input_features"]

    def forward_prepared(self, features):
        """Return what enters the first layer, and every layer's output (batch, time, feature)."""
        with torch.no_grad():
            out = self.network.encoder(features, output_hidden_states=True)
        return dict(zip(self.layers, out.hidden_states))

    def frames(self, lengths):
        """Count frames that begin within the stimulus."""
        return dict.fromkeys(self.layers, (lengths + 319) // 320)


class Spectrogram(HuggingFaceModel):
    """AST: patches of a log-mel spectrogram; the patches of one time are averaged."""

    def __init__(self, network, settings, *, folder=None, normalise=None):
        from transformers import ASTFeatureExtractor

        super().__init__(network, settings)
        extractor = preprocessor(folder)
        known = {k: extractor[k] for k in ("mean", "std", "do_normalize") if k in extractor}
        self.extractor = ASTFeatureExtractor(
            num_mel_bins=settings.num_mel_bins, max_length=settings.max_length, **known
        )
        self.sample_rate = self.extractor.sampling_rate
        # 25 ms windows every 10 ms, without frames that begin before the sound.
        self.window = 400 + (settings.max_length - 1) * 160
        stride, size = settings.time_stride, settings.patch_size
        self.rows = (settings.num_mel_bins - size) // settings.frequency_stride + 1
        self._name_layers(settings.num_hidden_layers + 1)
        first = (200 + 160 * (size - 1) / 2) / self.sample_rate
        self.frame_times = dict.fromkeys(self.layers, (first, 160 * stride / self.sample_rate))

    def prepare(self, waveforms, lengths=None):
        """Return log-mel frames (batch, frames, mels) of each stimulus, padded to the window."""
        waveforms, lengths = super().prepare(waveforms, lengths)
        return (_each(waveforms, lengths, self._features, self.window, self.sample_rate),)

    def _features(self, waveform):
        if len(waveform) < 400:
            raise ValueError(
                f"AST needs at least 25 ms of sound and a stimulus has {len(waveform)} samples: "
                "leave it out"
            )
        return self.extractor(waveform, sampling_rate=self.sample_rate, return_tensors="pt")[
            "input_values"
        ]

    def forward_prepared(self, features):
        """Return what enters the first layer, and every layer's output (batch, time, feature)."""
        with torch.no_grad():
            out = self.network(features, output_hidden_states=True)
        tokens = (state[:, 2:] for state in out.hidden_states)
        return {
            layer: values.unflatten(1, (self.rows, -1)).mean(1)
            for layer, values in zip(self.layers, tokens)
        }

    def frames(self, lengths):
        """Count patches that lie within the stimulus as a whole."""
        frames = (lengths - 400) // 160 + 1
        count = (frames - self.settings.patch_size) // self.settings.time_stride + 1
        return dict.fromkeys(self.layers, count.clamp(min=0))


def _each(waveforms, lengths, features, window, rate):
    longest = int(lengths.max())
    if longest > window:
        raise ValueError(
            f"a stimulus of {longest / rate:.1f} s is longer than the network's window of "
            f"{window / rate:.1f} s: cut it"
        )
    rows = [features(w[:n].cpu().numpy()) for w, n in zip(waveforms, lengths.tolist())]
    return torch.cat(rows).to(waveforms.device)

"""Networks of transformers that take log-mel frames of a window of fixed length.

Radford et al. (2023), arXiv 2212.04356; Gong et al. (2021), arXiv 2104.01778.
"""

from __future__ import annotations

import torch

from dynamics.models.huggingface.model import HuggingFaceModel


class Whisper(HuggingFaceModel):
    """Whisper's encoder: it takes log-mel frames of a window that every stimulus is padded to."""

    def __init__(self, network, settings, *, front=None, normalise=None):
        from transformers import WhisperFeatureExtractor

        super().__init__(network, settings)
        front = front or {}
        self.sample_rate = int(front.get("sampling_rate", 16000))
        known = {name: front[name] for name in ("hop_length", "n_fft") if name in front}
        # Two mel frames a frame of the encoder.
        self.stride = 2 * int(known.get("hop_length", 160))
        self.window = settings.max_source_positions * self.stride
        self.extractor = WhisperFeatureExtractor(
            feature_size=settings.num_mel_bins,
            sampling_rate=self.sample_rate,
            chunk_length=self.window // self.sample_rate,
            **known,
        )
        self.extractor.n_samples = self.window
        # The decoder is not used: it need not be in memory, nor in the checkpoint.
        self.network.decoder = torch.nn.Identity()
        self._name_layers(settings.encoder_layers + 1)
        self.frame_times = dict.fromkeys(self.layers, (0.0, self.stride / self.sample_rate))

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
        return dict.fromkeys(self.layers, (lengths + self.stride - 1) // self.stride)


class Spectrogram(HuggingFaceModel):
    """AST: patches of a log-mel spectrogram; the patches of one time are averaged."""

    def __init__(self, network, settings, *, front=None, normalise=None):
        from transformers import ASTFeatureExtractor

        super().__init__(network, settings)
        taken = ("mean", "std", "do_normalize", "sampling_rate")
        known = {name: front[name] for name in taken if name in (front or {})}
        self.extractor = ASTFeatureExtractor(
            num_mel_bins=settings.num_mel_bins, max_length=settings.max_length, **known
        )
        self.sample_rate = self.extractor.sampling_rate
        # 25 ms windows every 10 ms, without frames that begin before the sound.
        self.frame, self.shift = self.sample_rate // 40, self.sample_rate // 100
        self.window = self.frame + (settings.max_length - 1) * self.shift
        stride, size = settings.time_stride, settings.patch_size
        self.rows = (settings.num_mel_bins - size) // settings.frequency_stride + 1
        self._name_layers(settings.num_hidden_layers + 1)
        first = (self.frame / 2 + self.shift * (size - 1) / 2) / self.sample_rate
        spacing = self.shift * stride / self.sample_rate
        self.frame_times = dict.fromkeys(self.layers, (first, spacing))

    def prepare(self, waveforms, lengths=None):
        """Return log-mel frames (batch, frames, mels) of each stimulus, padded to the window."""
        waveforms, lengths = super().prepare(waveforms, lengths)
        return (_each(waveforms, lengths, self._features, self.window, self.sample_rate),)

    def _features(self, waveform):
        if len(waveform) < self.frame:
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
        frames = (lengths - self.frame) // self.shift + 1
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

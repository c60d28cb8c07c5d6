"""EnCodecMAE: the encoder of a masked autoencoder over Kaldi log-mel frames.

Pepino, Riera & Ferrer (2023), EnCodecMAE: Leveraging neural codecs for universal audio
representation learning, arXiv 2309.07391. The reference pretraining of `dynamics.reference` trains
the same network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import nn

from dynamics.models.hearing import Hearing
from dynamics.models.mel import SAMPLE_RATE, SHIFT, WINDOW, frame_count, inside, log_mel
from dynamics.models.names import WRAPPERS
from dynamics.models.residual import Encoder, Positions
from dynamics.models.weights import load_strictly

HEARING = Hearing(absolute=True)

# Only pretraining uses these.
_TRAINING_ONLY = (
    "visible_encoder.post_net.*",
    "decoder.*",
    "head.*",
    "masker.mask_token",
    "wav_encoder.model.*",
    "wav_encoder.quantizer.*",
    "target_encoder.*",
)


def build(
    state: Mapping[str, torch.Tensor] | None = None,
    *,
    heads: int = 12,
    frames_per_token: int = 1,
    layers: int = 5,
    width: int = 768,
    feed_forward: int | None = None,
    mels: int = 256,
    seed: int = 0,
) -> EnCodecMAE:
    """Build the encoder for a state dict, or freshly initialised.

    Parameters
    ----------
    state : mapping of str to Tensor, optional
        Weights by their original names; `layers`, `width`, `feed_forward` and `mels` are then read
        off their shapes.
    heads : int
        Attention heads; no weight's shape tells their number. The published networks have 12,
        also the large one, whose heads are 1024 // 12 = 85 wide.
    frames_per_token : int
        Mel frames that are stacked into one token: 1 in the published networks.
    layers, width, feed_forward, mels : int
        Sizes of a fresh network; `feed_forward` is 4 x `width` where it is not given.
    seed : int
        Of the initialisation of a fresh network.

    Returns
    -------
    EnCodecMAE
        In evaluation mode.

    Raises
    ------
    ValueError
        Where the weights are not those of an EnCodecMAE, or do not fit the arguments.
    """
    if state is None:
        state = fresh_state(
            heads=heads,
            layers=layers,
            width=width,
            feed_forward=feed_forward or 4 * width,
            inputs=mels * frames_per_token,
            seed=seed,
        )
    with torch.random.fork_rng(devices=[]):  # its initial values are replaced at once
        model = EnCodecMAE(**_sizes(_plain(state), heads, frames_per_token))
    model.load_weights(state)
    return model


def untrained(
    state: Mapping[str, torch.Tensor],
    *,
    seed: int = 0,
    heads: int = 12,
    frames_per_token: int = 1,
    **_: object,
) -> EnCodecMAE:
    """Build a network of the sizes of a state dict with fresh weights.

    Parameters
    ----------
    state : mapping of str to Tensor
        Weights whose shapes tell the sizes.
    seed : int
        Of the initialisation.
    heads, frames_per_token : int
        As for `build`.

    Returns
    -------
    EnCodecMAE
        In evaluation mode.
    """
    state = _plain(state)
    sizes = _sizes(state, heads, frames_per_token)
    inputs = state["wav_encoder.post_net.weight"].shape[1]
    names = ("layers", "width", "feed_forward")
    fresh = fresh_state(
        heads=heads, inputs=inputs, seed=seed, **{name: sizes[name] for name in names}
    )
    return build(fresh, heads=heads, frames_per_token=frames_per_token)


class EnCodecMAE(nn.Module):
    """The encoder as an adapter: waveforms in, activations of every layer out.

    An activation is the first residual stream after a layer; the last layer's has the final norm of
    the second stream added, as in Pepino et al. (2025), arXiv 2511.16849.
    """

    batchable = True
    why_not_batchable = ""
    batch_equal_lengths = True
    sample_rate = SAMPLE_RATE

    def __init__(
        self,
        *,
        layers: int,
        width: int,
        heads: int,
        feed_forward: int,
        mels: int,
        frames_per_token: int,
    ):
        super().__init__()
        self.mels, self.frames_per_token = mels, frames_per_token
        self.layers = tuple(f"layer{i}" for i in range(layers))
        first = (WINDOW + (frames_per_token - 1) * SHIFT) / 2 / SAMPLE_RATE
        spacing = frames_per_token * SHIFT / SAMPLE_RATE
        self.frame_times = {layer: (first, spacing) for layer in self.layers}
        self.wav_encoder = nn.ModuleDict({"post_net": nn.Linear(mels * frames_per_token, width)})
        self.masker = nn.ModuleDict({"positional_encoder": Positions()})
        # Evaluated with a feed-forward block a layer: right whether or not training shared one.
        self.visible_encoder = Encoder(layers, width, heads, feed_forward, share=False)
        self.requires_grad_(False).eval()

    def forward(
        self, waveforms: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Activations of every layer.

        Parameters
        ----------
        waveforms : torch.Tensor of shape (batch, samples)
            At 24 kHz, in [-1, 1].
        lengths : torch.Tensor of shape (batch,), optional
            Valid samples of each.

        Returns
        -------
        dict of str to torch.Tensor of shape (batch, time, width)
            Past a stimulus' own frames (`frames`) the values are zero.
        """
        return self.forward_prepared(*self.prepare(waveforms, lengths))

    def frames(self, lengths: torch.Tensor) -> dict[str, torch.Tensor]:
        """Count the valid frames of stimuli of these lengths (batch,), in samples."""
        count = frame_count(lengths) // self.frames_per_token
        return {layer: count for layer in self.layers}

    @torch.no_grad()
    def prepare(
        self, waveforms: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalised log-mel frames (batch, tokens, mels x stack) and valid tokens (batch,).

        Raises
        ------
        ValueError
            Where a stimulus is shorter than one token.
        """
        if lengths is None:
            lengths = torch.full((waveforms.shape[0],), waveforms.shape[1])
        lengths = lengths.to(waveforms.device)
        tokens = frame_count(lengths) // self.frames_per_token
        if tokens.numel() and int(tokens.min()) < 1:
            shortest = WINDOW + (self.frames_per_token - 1) * SHIFT
            raise ValueError(
                f"a stimulus has {int(lengths.min())} samples at {SAMPLE_RATE} Hz: "
                f"EnCodecMAE needs at least {shortest}, so leave it out or lengthen it"
            )
        mel = stack(log_mel(waveforms, mels=self.mels), self.frames_per_token)
        mel = mel[:, : int(tokens.max())]
        return mel.masked_fill(~inside(tokens, mel.shape[1])[..., None], 0.0), tokens

    @torch.no_grad()
    def forward_prepared(self, mel: torch.Tensor, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
        """Activations of every layer for what `prepare` gave."""
        valid = inside(tokens, mel.shape[1])
        x = self.masker["positional_encoder"](self.wav_encoder["post_net"](mel))
        streams = self.visible_encoder(x, None if bool(valid.all()) else valid)
        return {
            layer: activation.masked_fill(~valid[..., None], 0.0)
            for layer, activation in zip(self.layers, streams)
        }

    def load_weights(self, state: Mapping[str, torch.Tensor]) -> None:
        """Exchange the weights.

        Parameters
        ----------
        state : mapping of str to Tensor
            By their original names; decoder, head and targets of pretraining are left aside.

        Raises
        ------
        ValueError
            One sentence naming missing, left over, wrongly shaped or non-finite weights.
        """
        state, notes = _shared_filled(state)
        self.notes = notes + load_strictly(self, state, ignore=_TRAINING_ONLY, what="EnCodecMAE")


def fresh_state(
    *, heads: int, layers: int, width: int, feed_forward: int, inputs: int, seed: int
) -> dict[str, torch.Tensor]:
    """Weights of an untrained encoder, the same as at step 0 of a pretraining with this seed.

    Parameters
    ----------
    heads, layers, width, feed_forward : int
        Sizes.
    inputs : int
        Mels times frames a token.
    seed : int
        Of the initialisation; the global random state is left as it was.

    Returns
    -------
    dict of str to Tensor
        By the original names.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        modules = {
            "wav_encoder.post_net.": nn.Linear(inputs, width),
            "masker.positional_encoder.": Positions(),
            "visible_encoder.": Encoder(layers, width, heads, feed_forward, share=True),
        }
    return {
        prefix + name: value.detach()
        for prefix, module in modules.items()
        for name, value in module.state_dict().items()
    }


def stack(mel: torch.Tensor, frames_per_token: int) -> torch.Tensor:
    """Join neighbouring frames: (batch, frames, mels) to (batch, tokens, mels x stack)."""
    tokens = mel.shape[1] // frames_per_token
    return mel[:, : tokens * frames_per_token].reshape(mel.shape[0], tokens, -1)


def _plain(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Take wrappers' words and a prefix out of names, before the sizes of the network are known."""
    words = set(WRAPPERS)
    names = {n: ".".join(w for w in n.split(".") if w not in words) for n in state}
    key = "wav_encoder.post_net.weight"
    prefix = next((n.removesuffix(key) for n in names.values() if n.endswith(key)), "")
    plain = {short.removeprefix(prefix): state[name] for name, short in names.items()}
    return _shared_filled(plain)[0]


def _shared_filled(state: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Give every layer the feed-forward block that a file keeps once for all of them."""
    layer = re.compile(r"^(.*\bvisible_encoder\.encoder_layers\.)(\d+)\.(.*)$")
    parts = [(m, value) for name, value in state.items() if (m := layer.match(name))]
    blocks = [(m, value) for m, value in parts if m[3].startswith("ff_layer.")]
    if len({(m[1], m[2]) for m, _ in blocks}) != 1:
        return dict(state), []
    numbers = {m[2] for m, _ in parts}
    filled = {f"{m[1]}{n}.{m[3]}": value for m, value in blocks for n in numbers}
    if filled.keys() <= state.keys():
        return dict(state), []
    return dict(state) | filled, ["one feed-forward block for all layers"]


def _sizes(state: Mapping[str, torch.Tensor], heads: int, frames_per_token: int) -> dict[str, int]:
    prefix = "visible_encoder.encoder_layers."
    numbers = {name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)}
    needed = ("wav_encoder.post_net.weight", f"{prefix}0.ff_layer.0.weight")
    missing = [name for name in needed if name not in state]
    if missing:
        raise ValueError(
            f"the checkpoint is not an EnCodecMAE: it has no weight {missing[0]}; "
            "choose the adapter of its family"
        )
    width, inputs = state[needed[0]].shape
    if inputs % frames_per_token:
        raise ValueError(
            f"frames_per_token is {frames_per_token} but the checkpoint's tokens have {inputs} "
            "numbers: give the number of frames that it was trained with"
        )
    if heads < 1 or heads > width:
        raise ValueError(f"heads is {heads}: give a number from 1 to the width, {width}")
    return {
        "layers": len(numbers),
        "width": width,
        "heads": heads,
        "feed_forward": state[needed[1]].shape[0],
        "mels": inputs // frames_per_token,
        "frames_per_token": frames_per_token,
    }

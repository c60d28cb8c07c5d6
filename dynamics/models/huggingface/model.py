"""What all networks of transformers share: names of layers, weights, settings beside them."""

from __future__ import annotations

import contextlib
import fnmatch
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from dynamics.models.names import resolve, summarised
from dynamics.models.waveform import WaveformModel
from dynamics.models.weights import check_kinds, load_strictly, remembered

logger = logging.getLogger(__name__)

# Vectors of masking, which only training uses; Whisper's decoder is not run.
_OPTIONAL = ("*masked_spec_embed", "decoder.*")


class HuggingFaceModel(WaveformModel):
    """A network of transformers behind the common face."""

    def __init__(self, network: torch.nn.Module, settings: Any):
        super().__init__()
        self.network: Any = network.eval()
        self.settings = settings
        self.taken = ""
        self.initial = remembered(network, _OPTIONAL)

    def _name_layers(self, count: int) -> None:
        self.layers = ("embedding", *(f"layer{i}" for i in range(count - 1)))

    def load_weights(self, state: Mapping[str, torch.Tensor]) -> None:
        """Exchange the weights; heads of training, and names of older transformers, are known."""
        what = f"transformers' {type(self.network).__name__}"
        prefix = self.network.base_model_prefix + "."
        notes = [self.taken] if self.taken else []
        under = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
        state = under or state
        own = self.network.state_dict().keys()
        heads = [n for n in state if n not in own and _is_other_part(n)]
        state = {n: v for n, v in state.items() if n not in heads}
        if heads and not under:
            notes.append(f"{len(heads)} weights left aside ({summarised(heads)})")
        if not own <= state.keys() or not state.keys() <= own:
            state, resolved = resolve(self.network, state, parts=True)
            renamed = state if own <= state.keys() else self._renamed(state)
            if renamed is not state:
                check_kinds(state, state, what=what)
                # The library has brought them to single precision on the way.
                kinds = {v.dtype for v in state.values() if v.is_floating_point()}
                names = sorted(str(kind).removeprefix("torch.") for kind in kinds)
                resolved += [f"weights of {n} computed in float32" for n in names if n != "float32"]
            if renamed.keys() != state.keys():
                resolved.append("names of another version of transformers")
            state, notes = renamed, notes + resolved
        self.notes = notes + load_strictly(
            self.network, state, optional=_OPTIONAL, what=what, initial=self.initial, parts=True
        )

    def _renamed(self, state: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """Let transformers translate the names that its earlier versions saved."""
        with silent(), torch.random.fork_rng(devices=[]):
            try:
                loaded, told = type(self.network).from_pretrained(
                    None,
                    config=self.settings,
                    state_dict=dict(state),
                    output_loading_info=True,
                    dtype=torch.float32,
                    local_files_only=True,
                )
            except (RuntimeError, ValueError, TypeError) as error:
                logger.debug("transformers cannot translate the names: %s", error)
                return state
        drawn = set(told["missing_keys"])
        if any(not any(fnmatch.fnmatchcase(name, p) for p in _OPTIONAL) for name in drawn):
            return state
        left = {name: state[name] for name in told["unexpected_keys"] if name in state}
        return {n: v for n, v in loaded.state_dict().items() if n not in drawn} | left

    def finish(self) -> None:
        """Note what can only be known of the complete network."""


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Keep transformers' reports on freshly initialised weights out of the terminal."""
    from transformers.utils import logging as verbosity

    level = verbosity.get_verbosity()
    verbosity.set_verbosity_error()
    try:
        yield
    finally:
        verbosity.set_verbosity(level)


def _is_other_part(name: str) -> bool:
    """Whether a weight belongs to a decoder or to a head that only training uses."""
    heads = ("decoder.", "proj_out.", "lm_head.", "quantizer.", "project_q.", "project_hid.",
             "classifier.", "projector.", "dropout_features.", "label_embeddings_concat",
             "final_proj.", "layer_weights")  # fmt: skip
    return name.startswith(heads)

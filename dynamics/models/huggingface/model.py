"""What all networks of transformers share: names of layers, weights, settings beside them."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from dynamics.models.waveform import WaveformModel
from dynamics.models.weights import load_strictly

logger = logging.getLogger(__name__)


class HuggingFaceModel(WaveformModel):
    """A network of transformers behind the common face."""

    def __init__(self, network: torch.nn.Module, settings: Any):
        super().__init__()
        self.network: Any = network.eval()
        self.settings = settings

    def _name_layers(self, count: int) -> None:
        self.layers = ("embedding", *(f"layer{i}" for i in range(count - 1)))

    def load_weights(self, state: Mapping[str, torch.Tensor]) -> None:
        """Exchange the weights; heads of training, and names of older transformers, are known."""
        what = f"transformers' {type(self.network).__name__}"
        prefix = self.network.base_model_prefix + "."
        if any(name.startswith(prefix) for name in state):
            state = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
        own = self.network.state_dict().keys()
        state = {n: v for n, v in state.items() if n in own or not _is_other_part(n)}
        if state.keys() != own:
            state = self._renamed(state)
        load_strictly(self.network, state, optional=["*masked_spec_embed", "decoder.*"], what=what)

    def _renamed(self, state: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """Let transformers translate the names that its earlier versions saved."""
        with silent(), torch.random.fork_rng(devices=[]):
            try:
                loaded, told = type(self.network).from_pretrained(
                    None, config=self.settings, state_dict=dict(state), output_loading_info=True
                )
            except (RuntimeError, ValueError, TypeError) as error:
                logger.debug("transformers cannot translate the names: %s", error)
                return state
        if told["missing_keys"] or told["unexpected_keys"]:
            return state
        return loaded.state_dict()

    def finish(self) -> None:
        """Note what can only be known of the complete network."""


def preprocessor(folder: Path | None) -> dict[str, Any]:
    """Read the settings of the front end beside a checkpoint; empty where there are none."""
    path = folder / "preprocessor_config.json" if folder else None
    return json.loads(path.read_text()) if path is not None and path.is_file() else {}


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

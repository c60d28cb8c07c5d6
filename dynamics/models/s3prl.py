"""Upstreams of s3prl's hub, from checkpoints of its own or of other libraries.

The one place that makes s3prl importable beside a new torchaudio.

Yang et al. (2021), SUPERB, arXiv 2105.01051.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import logging
import sys
import tempfile
import types
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from dynamics.models.waveform import WaveformModel, decide_batchable
from dynamics.models.weights import check_finite, load_strictly

logger = logging.getLogger(__name__)

LIBRARIES = ("s3prl", "torchaudio")

# Key under which the JSON files of a checkpoint folder are kept beside its weights.
_FOLDER = "files of the folder"


def build(
    state: Mapping[str, torch.Tensor] | None = None,
    *,
    name: str,
    options: Mapping[str, Any] | None = None,
    randomize: bool = False,
    seed: int = 0,
    checkpoint: str | None = None,
    trust: bool = False,
) -> Upstream:
    """Build an upstream of s3prl.

    Parameters
    ----------
    state : mapping of str to Tensor, optional
        Weights that replace those of `checkpoint`, by the same names.
    name : str
        Name in s3prl's hub: ``tera_local``, ``hubert_custom`` and others that take a checkpoint, or
        a published one such as ``hubert``, which s3prl then downloads.
    options : mapping, optional
        Further arguments of the upstream (``extra_conf`` of ``S3PRLUpstream``).
    randomize : bool
        Whether all weights are drawn anew, for a control of the same architecture.
    seed : int
        Of the weights that are drawn.
    checkpoint : str, optional
        File or folder with weights and the configuration that s3prl builds the network from.
    trust : bool
        True lets the checkpoint run code. Without it s3prl gets a copy with only harmless contents,
        and a configuration that would call a function is refused: s3prl evaluates some settings.

    Returns
    -------
    Upstream
        Layers ``hidden0`` and on, as ``S3PRLUpstream`` orders them.

    Raises
    ------
    ValueError
        Where there is no such upstream, it cannot be built from the checkpoint, or it needs one.
    """
    hub = import_hub()
    if name not in hub.options():
        raise ValueError(
            f"s3prl has no upstream {name!r}: `dynamics models s3prl` lists the {len(upstreams())}"
        )
    if checkpoint is None and name.endswith(("_local", "_custom", "_url")):
        raise ValueError(
            f"s3prl builds {name} from a checkpoint's own configuration: give it a checkpoint"
        )
    template = None
    if checkpoint is not None:
        template = _contents(Path(checkpoint), trust)
        if not trust:
            refuse_calls(template, checkpoint)
    model = Upstream(name, dict(options or {}), template=template, randomize=randomize, seed=seed)
    if state is not None and template is not None:
        model.check(state)
    return model


class Upstream(WaveformModel):
    """An ``S3PRLUpstream`` behind the common face.

    s3prl builds every network from a file, each family in its own way. To exchange weights, they
    are put into the contents of the first file and the network is built from that; the front end
    and all settings stay those of the first file.
    """

    def __init__(self, name, options, *, template, randomize, seed):
        super().__init__()
        self.name = name
        self.options = options
        self.template = template
        self.randomize = randomize
        self.seed = seed
        self.network = self._built(template)
        self.layers = tuple(f"hidden{i}" for i in range(self.network.num_layers))
        # The front ends of nearly all upstreams have windows of 25 ms (wav2vec 2.0: 400 samples).
        self.frame_times = {
            layer: (0.0125, stride / self.sample_rate)
            for layer, stride in zip(self.layers, self.network.downsample_rates)
        }
        self.settle()
        decide_batchable(self, "s3prl gives every stimulus the frames of the longest")

    def forward_prepared(self, waveforms, lengths):
        """Return every hidden state (batch, time, feature)."""
        with torch.no_grad(), quiet(), torch.random.fork_rng(devices=[]):
            # Some front ends dither: the same noise each time.
            torch.manual_seed(self.seed)
            states, _ = self.network(waveforms, lengths)
        return dict(zip(self.layers, states))

    def frames(self, lengths):
        """Count frames as s3prl does: one each started stride."""
        return {
            layer: torch.div(lengths - 1, stride, rounding_mode="floor") + 1
            for layer, stride in zip(self.layers, self.network.downsample_rates)
        }

    def check(self, state: Mapping[str, torch.Tensor]) -> None:
        """Raise a ValueError where weights do not fit the file that the network was built from."""
        from dynamics.checkpoints import weights_of

        if self.template is None:
            raise ValueError(
                f"{self.name} was built without a file: its weights cannot be exchanged"
            )
        expected = weights_of(self.template)
        holder = _Holder({name: value.shape for name, value in expected.items()})
        load_strictly(holder, state, what=f"s3prl's {self.name}")
        check_finite(state)

    def load_weights(self, state: Mapping[str, torch.Tensor]) -> None:
        """Exchange the weights, by the names that the first checkpoint has."""
        from dynamics.checkpoints import weights_of

        self.check(state)
        names = {id(value): name for name, value in weights_of(self.template).items()}
        self.network = self._built(_replaced(self.template, names, state))
        self.settle()

    def _built(self, contents) -> torch.nn.Module:
        with quiet():
            from s3prl.nn import S3PRLUpstream
        with tempfile.TemporaryDirectory() as folder:
            where = None if contents is None else _written(contents, Path(folder))
            try:
                with quiet(), torch.random.fork_rng(devices=[]):
                    torch.manual_seed(self.seed)
                    network = S3PRLUpstream(
                        self.name,
                        path_or_url=where,
                        extra_conf=self.options,
                        randomize=self.randomize,
                    ).eval()
            except (Exception, SystemExit) as error:
                reason = " ".join(str(error).split())[:300] or type(error).__name__
                raise ValueError(
                    f"s3prl cannot build {self.name} from this checkpoint: {reason}"
                ) from error
        if contents is not None and not self.randomize and _arrived(network, contents) < 0.9:
            # Several families take what fits and keep random weights for the rest.
            raise ValueError(
                f"s3prl built {self.name}, but most weights of the checkpoint did not get into it: "
                "it is of another family"
            )
        return network


def refuse_calls(tree: Any, where: str) -> None:
    """Raise a ValueError where a setting in a checkpoint would call a function when evaluated.

    Parameters
    ----------
    tree : object
        Contents of a checkpoint.
    where : str
        Its path, for the message.
    """
    for key, text in _strings(tree):
        try:
            parsed = ast.parse(text.strip(), mode="eval")
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            continue
        if any(isinstance(node, ast.Call) for node in ast.walk(parsed)):
            raise ValueError(
                f"the setting {key!r} of {where!r} is {text[:60]!r}, which s3prl may run as code: "
                "set `trust_checkpoints: true` if you trust its author"
            )


def import_hub() -> Any:
    """Import ``s3prl.hub``, whichever torchaudio is installed.

    s3prl 0.4.18 uses two names that torchaudio dropped in 2.9 (s3prl issue 575):
    ``set_audio_backend``, called while modules are imported and without effect since 2.2, and
    ``sox_effects``, used by data loaders that Dynamics never calls. The first is supplied as a
    function that does nothing, the second as a module whose functions raise.

    Returns
    -------
    module
        ``s3prl.hub``; its warnings and notices about optional packages go to the log.

    Raises
    ------
    ImportError
        Where s3prl is not installed.
    """
    import torchaudio

    if not hasattr(torchaudio, "set_audio_backend"):
        torchaudio.set_audio_backend = lambda backend=None: None
    if not hasattr(torchaudio, "sox_effects"):
        module = types.ModuleType("torchaudio.sox_effects")
        for name in ("apply_effects_tensor", "apply_effects_file", "effect_names"):
            setattr(module, name, _gone(name))
        torchaudio.sox_effects = sys.modules["torchaudio.sox_effects"] = module
    with quiet():
        return importlib.import_module("s3prl.hub")


def upstreams() -> list[str]:
    """Names of all upstreams of s3prl's hub."""
    import_hub()
    with quiet():
        from s3prl.nn import S3PRLUpstream
    return sorted(S3PRLUpstream.available_names())


@contextlib.contextmanager
def quiet():
    """Send what s3prl prints and warns about to this module's log, at level debug."""
    said = io.StringIO()
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    with warnings.catch_warnings(), contextlib.redirect_stdout(said):
        warnings.simplefilter("ignore")
        with contextlib.redirect_stderr(said):
            try:
                yield
            finally:
                # Some modules configure the root logger while they are imported.
                root.handlers[:] = handlers
                root.setLevel(level)
    for line in filter(None, said.getvalue().splitlines()):
        logger.debug("s3prl: %s", line)


class _Holder(torch.nn.Module):
    """Weights of given shapes without memory, to compare names and shapes with."""

    def __init__(self, shapes):
        super().__init__()
        self.shapes = shapes

    def state_dict(self, *, keep_vars=False):
        return {name: torch.empty(shape, device="meta") for name, shape in self.shapes.items()}


def _contents(path: Path, trust: bool) -> Any:
    """Read a file, or the weights and the JSON files of a transformers folder."""
    from dynamics.checkpoints import read, read_file

    if not path.is_dir():
        return _without_optimizer(read_file(path, trust=trust))
    texts = {file.name: file.read_text() for file in path.glob("*.json")}
    texts = {name: text for name, text in texts.items() if not name.endswith(".index.json")}
    return {_FOLDER: texts, "state_dict": read(path, trust=trust)}


def _written(contents: Any, folder: Path) -> str:
    if not (isinstance(contents, Mapping) and _FOLDER in contents):
        torch.save(contents, folder / "contents.ckpt")
        return str(folder / "contents.ckpt")
    from safetensors.torch import save_file

    for name, text in contents[_FOLDER].items():
        (folder / name).write_text(text)
    state = {name: value.contiguous() for name, value in contents["state_dict"].items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder)


def _arrived(network: torch.nn.Module, contents: Any) -> float:
    """Return the part of a network's parameters that are also in a checkpoint, by their values."""
    from dynamics.checkpoints import weights_of

    def print_of(tensor):
        return tuple(tensor.shape), float(tensor.detach().sum(dtype=torch.float64))

    there = {print_of(value) for value in weights_of(contents).values()}
    sizes = [(p.numel(), print_of(p) in there) for p in network.parameters()]
    return sum(n for n, found in sizes if found) / max(1, sum(n for n, _ in sizes))


def _without_optimizer(tree: Any) -> Any:
    if not isinstance(tree, Mapping):
        return tree
    return {k: v for k, v in tree.items() if "optim" not in str(k).lower() and k != "Scheduler"}


def _replaced(tree: Any, names: Mapping[int, str], state: Mapping[str, torch.Tensor]) -> Any:
    if isinstance(tree, torch.Tensor):
        return state[names[id(tree)]] if id(tree) in names else tree
    if isinstance(tree, Mapping):
        kind: Any = type(tree)
        return kind((key, _replaced(value, names, state)) for key, value in tree.items())
    return tree


def _strings(tree: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(tree, str):
        yield key, tree
    elif isinstance(tree, Mapping):
        for name, value in tree.items():
            yield from _strings(value, str(name))
    elif isinstance(tree, (list, tuple)):
        for value in tree:
            yield from _strings(value, key)
    elif hasattr(tree, "__dict__") and not isinstance(tree, torch.Tensor):
        yield from _strings(vars(tree), key)


def _gone(name: str):
    def raises(*arguments, **options):
        raise RuntimeError(
            f"torchaudio.sox_effects.{name} is gone from torchaudio 2.9: apply it beforehand"
        )

    return raises

"""s3prl's hub beside a new torchaudio: the one place that makes it importable."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import logging
import sys
import types
import warnings
from typing import Any

logger = logging.getLogger(__name__)

# Upstreams, by how their names begin, whose code imports what s3prl does not install.
_NEEDS = {"pase": "pase.models", "espnet_hubert": "espnet2"}


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
    names = S3PRLUpstream.available_names()
    # Its hub lists whatever its modules import as well.
    return sorted(name for name in names if name.islower() and not name.startswith("load_"))


def needs(name: str) -> str:
    """Return the package that an upstream lacks here; empty where it lacks none.

    Parameters
    ----------
    name : str
        Name of an upstream.

    Returns
    -------
    str
        Such as "espnet2". The scorers of speech quality (``mos_...``) need ``sox_effects``, which
        torchaudio has no more from 2.9 on. PASE+ is not the `pase` of PyPI.
    """
    if name.startswith("mos_"):
        return "sox_effects"
    for start, module in _NEEDS.items():
        if name.startswith(start) and not _is_there(module):
            return module.partition(".")[0]
    return ""


@contextlib.contextmanager
def quiet():
    """Send what s3prl prints and warns about to this module's log, at level debug."""
    said = io.StringIO()
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    root.handlers[:] = [logging.StreamHandler(said)]
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


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _gone(name: str):
    def raises(*arguments, **options):
        raise RuntimeError(
            f"torchaudio.sox_effects.{name} is gone from torchaudio 2.9: apply it beforehand"
        )

    return raises

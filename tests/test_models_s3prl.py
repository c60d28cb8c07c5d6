from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("s3prl")

from dynamics.models import s3prl as adapter


def test_the_hub_imports_beside_the_installed_torchaudio_and_knows_its_upstreams():
    hub = adapter.import_hub()
    assert len(hub.options()) >= 190
    assert {"tera_local", "hubert_local", "wav2vec2_local"} <= set(adapter.upstreams())


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

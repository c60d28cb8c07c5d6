"""Settings of a reference pretraining run; importing them does not import torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dynamics.tables import check_name

KINDS = (
    "harmonic", "melody", "speech", "song", "call", "chirp", "modulated_noise", "texture",
    "impact", "machine", "mixture",
)  # fmt: skip
"""Of sounds that are synthesised, by `dynamics.reference.synthesis`."""

_FRAME_SECONDS, _SHIFT_SECONDS = 0.02656, 0.01328


class Source(BaseModel):
    """Where clips come from: a folder, a registered data set, or synthesised sounds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Path | None = Field(
        default=None, description="Folder of audio files; inside the data set where one is named"
    )
    dataset: str | None = Field(default=None, description="Name in the data-set registry")
    synthetic: bool | tuple[str, ...] = Field(
        default=False, description="True, or the kinds of sounds to synthesise"
    )
    weight: float = Field(default=1.0, gt=0, description="Share of the clips, relative")
    leave_out: tuple[str, ...] = Field(default=(), description="Patterns of file names")
    hours: float = Field(default=20.0, gt=0, description="At most this much is kept in memory")
    sounds: int = Field(default=1000, ge=1, description="How many sounds are synthesised")

    @model_validator(mode="after")
    def _one_kind(self) -> Source:
        recorded = self.folder is not None or self.dataset is not None
        if recorded == bool(self.synthetic):
            raise ValueError("a source is either `synthetic` or has a `folder` or `dataset`")
        for kind in () if isinstance(self.synthetic, bool) else self.synthetic:
            check_name("kind of sound", kind, KINDS)
        return self


class Pretraining(BaseModel):
    """Settings of a reference pretraining run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Path = Field(description="Where the checkpoints are written")
    sources: tuple[Source, ...] = Field(default=(Source(synthetic=True),), min_length=1)
    steps: int = Field(default=1500, ge=1)
    checkpoints: int = Field(default=14, ge=2, description="With step 0; log-spaced")
    first_checkpoint: int = Field(default=10, ge=1, description="First step after 0 that is saved")
    layers: int = Field(default=5, ge=1)
    width: int = Field(default=192, ge=2)
    heads: int = Field(default=6, ge=1)
    feed_forward: int = Field(default=768, ge=1)
    mels: int = Field(default=128, ge=8, le=256)
    frames_per_token: int = Field(default=2, ge=1)
    batch_size: int = Field(default=24, ge=1)
    clip_seconds: float = Field(default=2.0, ge=0.2, le=60)
    level: float = Field(default=0.02, gt=0, description="Median root mean square of the clips")
    level_spread: float = Field(default=6.0, ge=0, description="Standard deviation of it, dB")
    mixing: float = Field(
        default=1.0, ge=0, le=1, description="Share of clips heard with another one behind"
    )
    mixing_softer: tuple[float, float] = Field(
        default=(0.0, 15.0), description="How much softer the other one is, dB, from and to"
    )
    learning_rate: float = Field(default=5e-4, gt=0)
    warmup: int = Field(default=100, ge=1, description="Steps of rising learning rate")
    weight_decay: float = Field(default=0.05, ge=0)
    hidden_share: float = Field(default=0.55, gt=0, lt=1)
    hidden_span: int = Field(default=8, ge=1, description="Tokens")
    target_windows: tuple[int, ...] = Field(
        default=(1, 4, 8, 16), min_length=1, description="Tokens that each codebook looks at"
    )
    codes: int = Field(default=256, ge=2)
    code_dimension: int = Field(default=16, ge=1)
    save_every: int = Field(default=100, ge=1, description="Steps between states to go on from")
    objective: Literal["masked", "labels"] = Field(
        default="masked",
        description="Masked prediction by EnCodecMAE's encoder, or the classes of one labelled "
        "folder by BAN's four areas (adapter `ban`)",
    )
    recurrences: int = Field(default=2, ge=0, description="Of each area of BAN")
    kernel: int = Field(default=5, ge=1, description="Frames that an area of BAN sees, odd")
    threads: int = Field(default=0, ge=0, description="Of torch; 0 leaves its own choice")
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _sizes_fit(self) -> Pretraining:
        if self.heads > self.width:
            raise ValueError(f"heads is {self.heads}: give at most the width, {self.width}")
        if self.clip_seconds < _FRAME_SECONDS + 2 * self.frames_per_token * _SHIFT_SECONDS:
            raise ValueError(
                f"clip_seconds is {self.clip_seconds}: clips must hold at least two tokens"
            )
        if not 0 <= self.mixing_softer[0] <= self.mixing_softer[1]:
            raise ValueError("mixing_softer must be two rising numbers of dB, from 0 on")
        if any(window < 1 for window in self.target_windows):
            raise ValueError("target_windows must be 1 or more tokens each")
        if self.objective == "labels":
            if len(self.sources) != 1 or self.sources[0].synthetic:
                raise ValueError(
                    "labels are learned of one source, a `folder` with a subfolder a class or a "
                    "labels.csv"
                )
            if self.kernel % 2 == 0:
                raise ValueError(f"kernel is {self.kernel}: give an odd number of frames")
        return self

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that decide the weights, in plain types."""
        known = self.model_dump(mode="json", exclude={"folder", "threads", "save_every"})
        if self.objective == "masked":  # as runs were called before there was another objective
            for name in ("objective", "recurrences", "kernel"):
                del known[name]
        return known

    @property
    def adapter_arguments(self) -> dict[str, int]:
        """What the adapter, ``encodecmae`` or ``ban``, must be told to read the checkpoints."""
        if self.objective == "labels":
            return {"recurrences": self.recurrences}
        return {"heads": self.heads, "frames_per_token": self.frames_per_token}

    @property
    def saved_steps(self) -> tuple[int, ...]:
        """Steps of the checkpoints: 0 and log-spaced ones up to the last."""
        first = min(self.first_checkpoint, self.steps)
        spaced = np.geomspace(first, self.steps, self.checkpoints - 1)
        return (0, *sorted({round(float(step)) for step in spaced} | {self.steps}))

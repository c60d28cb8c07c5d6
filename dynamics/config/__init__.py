"""One validated model of a sweep, read from YAML."""

from __future__ import annotations

from dynamics.config.keys import json_schema
from dynamics.config.pretraining import Pretraining, Source
from dynamics.config.sweep import Choice, Sweep, load_config, validate

__all__ = ["Choice", "Pretraining", "Source", "Sweep", "json_schema", "load_config", "validate"]

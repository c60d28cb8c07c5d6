"""One validated model of a sweep, and of a collection of them, read from YAML."""

from __future__ import annotations

from dynamics.config.collection import Collection, Run, is_collection, load_collection
from dynamics.config.keys import json_schema
from dynamics.config.pretraining import Pretraining, Source
from dynamics.config.sweep import Choice, Sweep, load_config, validate

__all__ = [
    "Choice",
    "Collection",
    "Pretraining",
    "Run",
    "Source",
    "Sweep",
    "is_collection",
    "json_schema",
    "load_collection",
    "load_config",
    "validate",
]

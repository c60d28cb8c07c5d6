"""Whose fault it is: a checkpoint's is a row of the table, any other ends the command."""

from __future__ import annotations


class SoundError(ValueError):
    """A stimulus that a network cannot take, whatever its weights."""

"""What is raised where a store is not what was written: something is lost or damaged."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence


class LostError(KeyError):
    """An array that a store must have is not there."""

    def __str__(self) -> str:
        """Return the sentence, without the quotes of a key."""
        return str(self.args[0])


class KindError(TypeError, ValueError):
    """A group lies where an array should be, or the other way round."""


def damaged(where: str) -> ValueError:
    """Return the sentence for a node whose description, `zarr.json`, is not what it was."""
    return ValueError(
        f"the description of {where or 'its root'} is damaged: `dynamics verify` says what else "
        "is and how to mend it; a copy of the file `zarr.json` there mends it alone"
    )


@contextlib.contextmanager
def readable(path: str, store: object, *, texts: bool = False) -> Iterator[None]:
    """Name what a decompressor cannot read, and say what to do.

    Parameters
    ----------
    path : str
        Of the array.
    store : object
        Where it is, for the sentence.
    texts : bool
        Whether it holds texts: of other bytes in their place, the first are taken for a count, for
        which there is no memory.

    Yields
    ------
    None

    Raises
    ------
    ValueError
        In the place of what zarr and its codecs raise of damaged files; what a disk or a server
        raises stays as it is.
    """
    try:
        yield
    except (OSError, ImportError, IndexError, KindError, LostError):
        raise
    except Exception as error:
        said = "`dynamics " in str(error) or (isinstance(error, MemoryError) and not texts)
        if said or not _is_of_codecs(error):
            raise
        raise ValueError(
            f"`{path}` of store {store} is damaged and cannot be read ({reason(error)[:120]}): "
            "`dynamics verify` says what else is and how to mend it"
        ) from error


def _is_of_codecs(error: Exception) -> bool:
    """Whether it is what damaged bytes cause, and not a server, a library or a stop."""
    known = ("builtins", "numpy", "numcodecs", "zarr", "json")
    return any(type(error).__module__.partition(".")[0] == name for name in known)


def reason(error: BaseException) -> str:
    """Return in one line what was raised first, without the sentences around it."""
    first = error.__cause__ or error
    return " ".join(str(first).split()) or type(first).__name__


def some(values: Sequence[object], most: int) -> str:
    """Name the first of some values, and how many more there are."""
    shown = ", ".join(map(str, values[:most]))
    return shown + (f" and {len(values) - most} more" if len(values) > most else "")

"""Whose fault it is: a checkpoint's is a row of the table, any other ends the command.

A fault of a checkpoint is what its own bytes, names, shapes or values cause. What would come back
with every checkpoint is none: a library that is missing or broken, a disk or memory that is full,
a GPU that failed, a store that does not answer, a sound that no weights make the network take.
Written as rows, such faults would be there once a step and stay, since a failed step is done again
only when its file changes.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator

from dynamics import installation
from dynamics.secrets import redacted

# What a broken checkpoint raises while it is read, fitted to the network or run.
FAULTS = (ValueError, OSError, RuntimeError, KeyError, TypeError, EOFError)

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EROFS}
# The same from libraries in C++ and Rust, which keep no number.
_FULL_WORDS = re.compile(
    r"no space left|disk quota|too many open files|cannot allocate memory|read-only file system"
    r"|PytorchStreamWriter failed writing|os error (12|23|24|28|30|122)\b",
    re.IGNORECASE,
)
_MEMORY_WORDS = re.compile(r"can't allocate memory|not enough memory|out of memory", re.IGNORECASE)
_ASKED = re.compile(r"tried to allocate (\d+) bytes")
_GPU = ("AcceleratorError", "CudaError", "DeferredCudaCallError")


_LONG, _LONGEST = 80, 500
# More names, or numbers, than a sentence lists that is too long with all of them.
_MOST = 12
_LISTED = re.compile(rf"[^\s,]+(?:, (?!or |and )[^\s,]+){{{_MOST + 1},}}")
_ENDS = re.compile(r"[\])}:;.]*$")
# What Python says to programmers.
_UNKNOWN_ARGUMENT = re.compile(r"[^\s(]+\(\) got an unexpected keyword argument ('\w+')")
_OTHER_ARGUMENTS = re.compile(
    r"[^\s(]+\(\) takes .{1,40}? positional arguments? but \d+ w\w+ given"
)


class SweepError(ValueError):
    """What a sweep asks for and no checkpoint can give."""


class SoundError(SweepError):
    """A stimulus that a network cannot take, whatever its weights."""


def row(fault: BaseException, *, file_bytes: int | None = None) -> Exception:
    """Return a fault of a checkpoint, to be written into its row; raise any other.

    Parameters
    ----------
    fault : BaseException
        What was raised while a checkpoint was fetched, read, fitted to a network or run.
    file_bytes : int, optional
        Size of the checkpoint, where it was being read: what asks for far more memory than a file
        has bytes is a damaged file.

    Returns
    -------
    Exception
        The same fault.

    Raises
    ------
    ImportError, MemoryError, OSError, SweepError
        One sentence, where the installation, the machine, the sweep or its sounds are to blame.
    """
    if isinstance(fault, SweepError):
        raise fault
    told = of_machine(fault, file_bytes=file_bytes)
    if told is not None:
        raise told from fault
    if not isinstance(fault, FAULTS):
        raise fault
    return fault


def of_machine(fault: BaseException, *, file_bytes: int | None = None) -> Exception | None:
    """Say in one sentence what is wrong with the installation or the machine.

    Parameters
    ----------
    fault : BaseException
        What was raised; the faults that it came from (``raise ... from``) are looked at too.
    file_bytes : int, optional
        As for `row`.

    Returns
    -------
    ImportError, MemoryError, OSError or None
        None where neither is to blame.
    """
    for each in _causes(fault):
        if isinstance(each, ImportError) or installation.while_importing(each):
            return installation.explained(each)
        if _is_of_memory(each):
            if _is_too_large(each, file_bytes):
                return None
            return MemoryError(
                f"out of memory ({sentence(fault)}): lower `batch_size`, or use a machine or "
                "`device` with more; what is done stays, and the same command goes on from there"
            )
        if _is_of_machine(each):
            return OSError(f"{sentence(fault)}; what is done stays, and once that is mended the "
                           "same command goes on from there")  # fmt: skip
    return None


def sentence(fault: BaseException) -> str:
    """Return the message of a fault in one line; its type where it has none.

    Of a word that is none, such as a key of a thousand letters, the beginning is enough; of a
    sentence that holds a whole list its beginning and its end.
    """
    words = redacted(written_out(str(fault))).split()
    each = (f"{word[:_LONG]}..." if len(word) > 4 * _LONG else word for word in words)
    told = _UNKNOWN_ARGUMENT.sub(r"it takes no argument \1", " ".join(each))
    told = _OTHER_ARGUMENTS.sub("it is called with other arguments than it takes", told)
    if len(told) > _LONGEST:
        told = _LISTED.sub(_few, told)
    if len(told) > _LONGEST:  # what was given stands in the middle: a text, a mapping
        told = f"{told[: _LONGEST // 2]} ... {told[-_LONGEST // 3 :]}"
    return told or type(fault).__name__


def _few(found: re.Match[str]) -> str:
    """Return the first of many names of a list, and how many more there are."""
    names = found[0].split(", ")
    return f"{', '.join(names[:_MOST])} and {len(names) - _MOST} more{_ENDS.findall(names[-1])[0]}"


def written_out(text: str) -> str:
    """Write out letters that are none, as in names of files: no log or store takes them."""
    return text.encode("utf-8", "backslashreplace").decode()


def _causes(fault: BaseException) -> Iterator[BaseException]:
    """Yield a fault and what it came from; the contexts of an exit too, which names no cause."""
    seen: set[int] = set()
    current: BaseException | None = fault
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        context = current.__context__ if isinstance(current, SystemExit) else None
        current = current.__cause__ or context


def _is_of_memory(fault: BaseException) -> bool:
    return isinstance(fault, MemoryError) or (
        isinstance(fault, RuntimeError) and bool(_MEMORY_WORDS.search(str(fault)))
    )


def _is_too_large(fault: BaseException, file_bytes: int | None) -> bool:
    """Whether a file asks for far more memory than it can hold weights for."""
    asked = _ASKED.search(str(fault))
    return file_bytes is not None and asked is not None and int(asked[1]) > 8 * file_bytes + 2**20


def _is_of_machine(fault: BaseException) -> bool:
    if isinstance(fault, OSError) and (fault.errno in _FULL or isinstance(fault, ConnectionError)):
        return True
    if type(fault).__name__ in _GPU or "CUDA error" in str(fault):
        return True
    foreign = isinstance(fault, (RuntimeError, OSError)) or not isinstance(fault, FAULTS)
    return foreign and bool(_FULL_WORDS.search(str(fault)))

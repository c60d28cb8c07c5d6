"""Bring remote checkpoints here one after the other: verified, retried, and few at a time."""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import logging
import posixpath
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dynamics.checkpoints.checkpoint import Checkpoint, is_remote, local_path
from dynamics.checkpoints.folders import Files, SeveralError, files_of, note_choice
from dynamics.checkpoints.revisions import open_fresh
from dynamics.filesystems import PARTIAL, open_storage, remove, replacing
from dynamics.lookahead import in_threads

logger = logging.getLogger(__name__)

CHUNK = 2**22
# How the names begin that `download` gives.
_OURS = re.compile(r"[0-9a-f]{12}-")


@contextlib.contextmanager
def fetch(
    checkpoint: Checkpoint,
    folder: str | Path,
    *,
    storage_options: Mapping[str, Any] | None = None,
    attempts: int = 5,
    wait: float = 1.0,
) -> Iterator[Path]:
    """Have one checkpoint on this machine for the time of a ``with`` block.

    Parameters
    ----------
    checkpoint : Checkpoint
        Local ones are used where they are.
    folder : str or Path
        Where remote ones are put; made where it does not exist.
    storage_options : mapping, optional
        For fsspec.
    attempts : int
        How often a transfer is tried; each continues where the last one broke.
    wait : float
        Seconds before the second attempt; doubled each time.

    Yields
    ------
    Path
        Complete and verified; removed afterwards where it was fetched.

    Raises
    ------
    FileNotFoundError, ValueError
        Where it is gone, its size or hash is wrong after every attempt, or the disk is full.
    """
    path = download(
        checkpoint, folder, storage_options=storage_options, attempts=attempts, wait=wait
    )
    try:
        yield path
    finally:
        if is_remote(checkpoint.uri):
            remove(path)


def fetched(
    checkpoints: Iterable[Checkpoint],
    folder: str | Path,
    *,
    keep: int = 2,
    storage_options: Mapping[str, Any] | None = None,
    attempts: int = 5,
    wait: float = 1.0,
) -> Iterator[tuple[Checkpoint, Path | Exception]]:
    """Go through checkpoints while the next ones are on their way.

    Parameters
    ----------
    checkpoints : iterable of Checkpoint
        In the order in which they are needed.
    folder : str or Path
        Where remote ones are put; leftovers of a broken run in it are removed first.
    keep : int
        At most so many are on this disk at any time, the one in use included.
    storage_options, attempts, wait
        As for `fetch`.

    Yields
    ------
    checkpoint : Checkpoint
        The next one.
    path : Path or Exception
        Where it is until the next one is asked for, or why it is not here.
    """
    if keep < 1:
        raise ValueError(f"keep must be at least 1, not {keep}")
    folder = Path(folder)

    def bring(checkpoint: Checkpoint) -> Path | Exception:
        try:
            return download(
                checkpoint, folder, storage_options=storage_options, attempts=attempts, wait=wait
            )
        except Exception as fault:
            return fault

    _clear(folder)
    coming = in_threads(bring, checkpoints, window=keep)
    try:
        for checkpoint, future in coming:
            found = future.result()
            yield checkpoint, found
            if isinstance(found, Path) and is_remote(checkpoint.uri):
                remove(found)
    finally:
        coming.close()
        _clear(folder)


def download(
    checkpoint: Checkpoint,
    folder: str | Path,
    *,
    storage_options: Mapping[str, Any] | None = None,
    attempts: int = 5,
    wait: float = 1.0,
) -> Path:
    """Copy a remote checkpoint into a folder; local ones stay where they are.

    Parameters
    ----------
    checkpoint, folder, storage_options, attempts, wait
        As for `fetch`.

    Returns
    -------
    Path
        Never under this name before it is complete and verified.
    """
    if not is_remote(checkpoint.uri):
        return local_path(checkpoint.uri)
    folder = Path(folder)
    storage, path = _opened(checkpoint, storage_options)
    name = re.sub(r"[^\w.=@-]+", "_", posixpath.basename(path.rstrip("/")))[-80:]
    mark = hashlib.sha256(checkpoint.uri.encode()).hexdigest()[:12]
    final = folder / f"{mark}-{name}"
    try:
        with replacing(final) as partial:
            parts, choice = _parts(storage, path, checkpoint.weights)
            if parts is None:
                _transfer(storage, path, partial, attempts, wait)
            else:
                partial.mkdir()
                for part in parts:
                    _transfer(storage, part, partial / posixpath.basename(part), attempts, wait)
                note_choice(partial, choice)
    except SeveralError as error:
        raise ValueError(f"{checkpoint.uri}: {error}") from None
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no checkpoint at {checkpoint.uri!r} any more") from None
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        text = f"cannot fetch {checkpoint.uri!r}: {reason}"
        if not _answers(storage, path, error):
            # Whoever fetches many must not take this for a fault of the checkpoint.
            raise ValueError(text) from ConnectionError(reason)
        raise ValueError(text) from error
    return final


def _clear(folder: Path) -> None:
    """Remove what was fetched into a folder, and the halves of it."""
    for leftover in folder.iterdir() if folder.is_dir() else ():
        if leftover.name.endswith(PARTIAL) or _OURS.match(leftover.name):
            remove(leftover)


def _answers(storage, path: str, fault: Exception) -> bool:
    """Whether a store still lists the folder of a checkpoint that could not be fetched.

    Where it does, the fault is the checkpoint's; a store that is away, or refuses even that, would
    fail for every other as well.
    """
    try:
        storage.invalidate_cache()
        storage.ls(posixpath.dirname(path.rstrip("/")), detail=False)
    except FileNotFoundError:
        return True
    except PermissionError:
        return not isinstance(fault, PermissionError)  # listing may be closed where reading is not
    except Exception:
        return False
    return True


def _opened(checkpoint: Checkpoint, options: Mapping[str, Any] | None) -> tuple[Any, str]:
    """Open the store of a checkpoint; a branch of a hub at the commit that was listed."""
    if not checkpoint.uri.startswith("hf://"):
        return open_storage(checkpoint.uri, options)
    try:
        return open_fresh(checkpoint.uri, options, commit=checkpoint.version)[:2]
    except (FileNotFoundError, ValueError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"cannot fetch {checkpoint.uri!r}: {reason}") from error


def _parts(storage, path: str, wanted: str) -> tuple[list[str] | None, Files]:
    """Files of a checkpoint folder that are needed: weights and what describes them."""
    if storage.isfile(path):
        return None, Files([])
    entries = {
        posixpath.basename(entry["name"]): entry["name"]
        for entry in storage.ls(path, detail=True)
        if entry["type"] == "file"
    }
    if not entries:
        raise FileNotFoundError(path)
    described = [n for n in entries if n.endswith((".json", ".yaml")) or n == ".metadata"]

    def open_file(name: str) -> Any:
        return storage.open(entries[name], "rb", block_size=2**16)

    choice = files_of(entries, open_file, wanted)
    taken = [name for name in choice.taken if name in entries]
    return [entries[name] for name in dict.fromkeys([*described, *taken])], choice


def _transfer(storage, path: str, target: Path, attempts: int, wait: float) -> None:
    last = ""
    for attempt in range(attempts):
        if attempt:
            logger.warning("fetching %s again after: %s", path, last)
            time.sleep(wait * 2 ** (attempt - 1))
        try:
            storage.invalidate_cache()
            _continue(storage, path, target)
            return
        except (FileNotFoundError, PermissionError):
            raise
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise ValueError(
                    f"no space left in {str(target.parent)!r}: free some, or lower `keep`"
                ) from error
            last = " ".join(str(error).split())[:200] or type(error).__name__
        except Exception as error:
            last = " ".join(str(error).split())[:200] or type(error).__name__
    raise ValueError(f"{attempts} attempts failed, the last with: {last}")


def _continue(storage, path: str, target: Path) -> None:
    """Append what is missing, then compare size and hash with what the store says."""
    info = storage.info(path)
    size = info.get("size")
    start = target.stat().st_size if target.exists() else 0
    if size is not None and start > size:
        target.unlink()
        start = 0
    if size is None or start < size or size == 0:
        ranged = size is not None
        options = {"block_size": CHUNK, "cache_type": "readahead"} if ranged else {"block_size": 0}
        mode = "ab" if ranged else "wb"
        with storage.open(path, "rb", **options) as source, target.open(mode) as file:
            if start and ranged:
                try:
                    source.seek(start)
                except (ValueError, NotImplementedError):
                    file.truncate(0)  # a server without ranges: from the beginning again
            while chunk := source.read(CHUNK):
                file.write(chunk)
    arrived = target.stat().st_size
    if size is not None and arrived != size:
        raise OSError(f"{arrived} of {size} bytes arrived")
    for algorithm, expected in _hashes(storage, path, info):
        with target.open("rb") as file:
            found = hashlib.file_digest(file, algorithm).hexdigest()
        if found != expected:
            target.unlink()
            raise OSError(f"its {algorithm} is {found}, not {expected}: the transfer was damaged")


def _hashes(storage, path: str, info: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the hashes a store states: SHA-256 of the hub, MD5 of Google and simple S3 objects."""
    lfs = info.get("lfs")
    sha256 = lfs.get("sha256") if isinstance(lfs, Mapping) else getattr(lfs, "sha256", None)
    if sha256:
        yield "sha256", sha256
    if info.get("md5Hash"):
        yield "md5", base64.b64decode(info["md5Hash"]).hex()
    tag = str(info.get("ETag", "")).strip('"')
    if hasattr(storage, "call_s3") and re.fullmatch(r"[0-9a-f]{32}", tag):
        # The tag of an object that was encrypted with a managed key is no MD5 of its content.
        bucket, key, _ = storage.split_path(path)
        head = storage.call_s3("head_object", Bucket=bucket, Key=key)
        plain = head.get("ServerSideEncryption") in (None, "AES256")
        if plain and not head.get("SSECustomerAlgorithm"):
            yield "md5", tag

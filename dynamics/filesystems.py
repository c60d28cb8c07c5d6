"""Files and folders: whole wherever they bear their name; and stores, servers and hubs by URL."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import fsspec

PARTIAL = ".part"
"""How the names of what is not whole yet end."""

# An address, also one of which two slashes became one as if it were a path.
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_NO_FILE = "it is no regular file but a folder, a pipe, a socket or a device"


def open_regular(path: str | Path) -> io.BufferedReader:
    """Open a file for reading bytes; a ValueError where it is a pipe, a socket or a device.

    Parameters
    ----------
    path : str or Path
        Where it is.

    Returns
    -------
    binary file
        At its beginning.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError(_NO_FILE)
    # Should it become a pipe between the two looks, this does not wait for a writer.
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    file = os.fdopen(number, "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ValueError(_NO_FILE)
    return file


@contextlib.contextmanager
def replacing(path: str | Path, *, sync: bool = False) -> Iterator[Path]:
    """Write a file or folder beside its place, and put it there once it is whole.

    Parameters
    ----------
    path : str or Path
        Its place; folders above are made, and what is there is replaced.
    sync : bool
        Whether a file is on the disk before it bears its name, also where the power fails.

    Yields
    ------
    Path
        In the same folder, hidden, and nothing is there yet; it is gone after the block, also
        where that raises.

    Raises
    ------
    ValueError
        If it is an address.
    """
    if _ADDRESS.match(str(path)):
        raise ValueError(f"{path} is an address: what is written here is a file of this machine")
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    beside = final.with_name(f".{final.name}{PARTIAL}")
    remove(beside)
    try:
        yield beside
        if sync:
            with open(beside, "rb+") as file:
                os.fsync(file.fileno())
        if beside.is_dir():
            remove(final)  # a folder replaces none that holds something
        os.replace(beside, final)
    except BaseException:
        with contextlib.suppress(OSError):  # what went wrong before matters more
            remove(beside)
        raise


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all it holds, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


# A store that stops answering must not hang a sweep; what the user gives wins. Listings are not
# kept, since other processes write too.
SETTINGS: dict[str, dict[str, Any]] = {
    protocol: {
        "config_kwargs": {"connect_timeout": 10, "read_timeout": 30},
        "use_listings_cache": False,
    }
    for protocol in ("s3", "s3a")
}

# The extra of this package that brings the library for a kind of URL.
EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "hf": "hub", "http": "http",
          "https": "http"}  # fmt: skip


def open_storage(
    url: str, options: Mapping[str, Any] | None = None, **settings: Any
) -> tuple[Any, str]:
    """Open the store that a URL names.

    Parameters
    ----------
    url : str
        With its protocol.
    options : mapping, optional
        For fsspec: credentials, endpoint and the like.
    **settings
        For fsspec, where the caller needs them whatever the user gives.

    Returns
    -------
    storage : fsspec.AbstractFileSystem
        The store.
    path : str
        The URL's path inside it.

    Raises
    ------
    ValueError
        Where no library for the protocol is installed, or the options are not understood.
    """
    protocol = url.partition("://")[0]
    settings = {**SETTINGS.get(protocol, {}), **(options or {}), **settings}
    try:
        if protocol.startswith("http"):
            settings.setdefault("client_kwargs", {}).setdefault("timeout", _http_patience())
        if protocol in ("gs", "gcs"):  # whose library would wait for ever
            settings.setdefault("requests_timeout", _http_patience())
            storage = _google()(**settings)
            return storage, storage._strip_protocol(url)
        return fsspec.core.url_to_fs(url, **settings)
    except ImportError as error:
        extra = EXTRAS.get(protocol)
        raise ValueError(
            f"cannot read {url!r}: {error}"
            + (f"; install `training-dynamics[{extra}]`" if extra else "")
        ) from error
    except (ValueError, TypeError) as error:
        raise ValueError(f"cannot read {url!r}: {error}") from error


def _google() -> Any:
    """Return Google's client, the one that only needs HTTP.

    The default of new versions asks for the kind of a bucket by gRPC before each request, which
    takes a minute and is asked again where a proxy, a firewall or a server of one's own lets HTTP
    alone through. Zonal buckets need it: their users set the variable.
    """
    if os.environ.get("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "").lower() in ("true", "1"):
        return fsspec.get_filesystem_class("gs")
    return importlib.import_module("gcsfs.core").GCSFileSystem


def _http_patience() -> Any:
    import aiohttp

    # A large file may take long in all, but not between two pieces of it.
    return aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60)

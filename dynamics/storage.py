"""Open object stores, web servers and model hubs by their URLs."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import Any

import fsspec

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

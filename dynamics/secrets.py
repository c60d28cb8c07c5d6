"""Passwords, tokens and signed addresses: they are used, and never written, shown or logged."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

HIDDEN = "***"
_SECRET = re.compile(r"key|secret|token|pass|auth|cred|sig|sas|bearer|cookie|header", re.IGNORECASE)
# An address with a user or a query that was taken for a path, which leaves one slash of two.
_AS_PATH = re.compile(
    r"\b([A-Za-z][\w+.-]+):/(?=[^/\s'\"][^/\s'\"]*@|[^/\s'\"][^\s'\"]*\?[^\s'\"]*=)"
)
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://[^\s'\"<>`]+")
# What is shorter would be found in words that have nothing to do with it.
_SHORTEST = 6
_known: set[str] = set()


def is_secret(name: str) -> bool:
    """Whether what goes by a name, such as ``client_secret``, is not for everybody."""
    return bool(_SECRET.search(name))


def keep(options: Any) -> None:
    """Have the secrets among options of a library for URLs hidden wherever they turn up.

    Parameters
    ----------
    options : object
        Nested mappings and sequences: what stands below a name that `is_secret` is one.
    """
    _known.update(value for value in _secrets(options) if len(value) >= _SHORTEST)


def _secrets(options: Any, below: bool = False) -> Iterator[str]:
    if isinstance(options, Mapping):
        for name, value in options.items():
            yield from _secrets(value, below or is_secret(str(name)))
    elif isinstance(options, Sequence) and not isinstance(options, (str, bytes)):
        for value in options:
            yield from _secrets(value, below)
    elif below and isinstance(options, (str, bytes)):
        text = options.decode(errors="replace") if isinstance(options, bytes) else options
        yield text
        yield from text.split()  # `Bearer` and what follows it


def public(url: str) -> str:
    """Return an address without its user, password, and the query with which it may be signed.

    Parameters
    ----------
    url : str
        An address, or a path: that stays as it is.

    Returns
    -------
    str
        What can be shown.
    """
    if "://" not in url:
        return url
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets that are no address of IPv6
        return url.partition("?")[0]
    # Question marks without an equals sign are those of a pattern.
    query = "" if parts.scheme in ("http", "https") or "=" in parts.query else parts.query
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, query, ""))


def redacted(text: str) -> str:
    """Hide what is secret in a text that is shown, logged or stored.

    Parameters
    ----------
    text : str
        With addresses, perhaps, or with secrets that were `keep` kept.

    Returns
    -------
    str
        Addresses are `public`, and what was cut from them or is known as a secret is `HIDDEN`.
    """
    found = set(_known)
    text = _AS_PATH.sub(r"\1://", text)
    for url in _URL.findall(text):
        found.update(each for each in _cut(url) if len(each) >= _SHORTEST)
    told = _URL.sub(lambda match: public(match[0]), text)
    for secret in sorted(found, key=len, reverse=True):
        told = told.replace(secret, HIDDEN)
    return told


def _cut(url: str) -> Iterator[str]:
    """Yield what `public` takes away, as it is written and as it is meant."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    user = parts.netloc.rpartition("@")[0]
    signed = parts.query if "=" in parts.query else ""
    for each in (user, *user.split(":", 1), signed):
        yield each
        yield unquote(each)
    yield from (value for _, value in parse_qsl(parts.query))

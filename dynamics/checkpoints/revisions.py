"""Branches and tags of a repository on the model hub, one a checkpoint, and their names in URLs."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from dynamics.checkpoints.checkpoint import Checkpoint, placed


def is_of_hub(url: str) -> bool:
    """Whether a URL names something of a repository at a revision."""
    return url.startswith("hf://") and "@" in url


def revisions(url: str, options: Mapping[str, Any] | None) -> list[Checkpoint] | None:
    """Return the revisions that a URL's pattern matches, as checkpoints.

    Parameters
    ----------
    url : str
        ``hf://owner/name@pattern`` or ``hf://owner/name@pattern/folder``; names of branches, and
        so patterns, may have slashes.
    options : mapping or None
        Endpoint and token.

    Returns
    -------
    list of Checkpoint or None
        None where the pattern is none of revisions: that of files at one revision.

    Raises
    ------
    ValueError
        If the hub cannot be asked, or two revisions of one step are not the same commit: they
        have no age by which to choose.
    """
    repository, rest = _split(url)
    parts = rest.split("/")
    if not is_pattern(rest):
        return None
    refs = _refs(repository, options, url)
    if any("/".join(parts[:k]) in {ref.name for ref in refs} for k in range(1, len(parts) + 1)):
        return None
    for k in range(1, len(parts) + 1):
        pattern, folder = "/".join(parts[:k]), "/".join(parts[k:])
        found = [ref for ref in refs if fnmatch.fnmatchcase(ref.name, pattern)]
        if is_pattern(pattern) and found:
            return _one_a_step(repository, found, folder)
    return [] if is_pattern(parts[0]) else None


def escaped(url: str, options: Mapping[str, Any] | None) -> str:
    """Write the slashes in a revision's name as ``%2F``, as the hub's file system wants them.

    Parameters
    ----------
    url : str
        Any; only ``hf://owner/name@revision/...`` of a revision with slashes is changed.
    options : mapping or None
        Endpoint and token.

    Returns
    -------
    str
        The URL.
    """
    if not is_of_hub(url) or "/" not in _split(url)[1]:
        return url
    repository, rest = _split(url)
    parts = rest.split("/")
    if parts[0] in ("main", "refs"):
        return url
    names = {ref.name for ref in _refs(repository, options, url)}
    for k in range(1, len(parts) + 1):
        if (name := "/".join(parts[:k])) in names:
            return "/".join([f"hf://{repository}@{quote(name, safe='')}", *parts[k:]])
    return url


def is_pattern(text: str) -> bool:
    """Whether a text has the signs of a glob."""
    return any(sign in text for sign in "*?[")


def _split(url: str) -> tuple[str, str]:
    repository, _, rest = url.removeprefix("hf://").partition("@")
    return repository, rest.strip("/")


def _refs(repository: str, options: Mapping[str, Any] | None, url: str) -> list[Any]:
    from dynamics.checkpoints.remote import complaint

    options = options or {}
    try:
        from huggingface_hub import HfApi

        hub = HfApi(endpoint=options.get("endpoint"), token=options.get("token"))
        found = hub.list_repo_refs(repository)
    except ImportError as error:
        raise ValueError(f"cannot read {url!r}: install `training-dynamics[hub]`") from error
    except Exception as error:
        raise ValueError(complaint(url, error)) from error
    return [*found.branches, *found.tags]


def _one_a_step(repository: str, refs: Sequence[Any], folder: str) -> list[Checkpoint]:
    found: dict[int, tuple[Checkpoint, Any]] = {}
    for ref in refs:
        name = quote(ref.name, safe="")
        where = "/".join(filter(None, (f"hf://{repository}@{name}", folder)))
        note = f"commit {ref.target_commit[:12]}"
        commit = ref.target_commit
        one = placed(where, None, ref.name, (0, 0.0), "huggingface", note, version=commit)
        if one is None:
            continue
        if one.step in found and found[one.step][1].target_commit != ref.target_commit:
            raise ValueError(
                f"the revisions {found[one.step][1].name!r} and {ref.name!r} of {repository} both "
                f"state step {one.step}, such as of two stages of training: narrow the pattern "
                f"(hf://{repository}@...), or give `checkpoints` as a mapping of step to revision"
            )
        found.setdefault(one.step, (one, ref))
    return [one for one, _ in found.values()]

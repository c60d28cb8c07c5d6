"""A store in an Icechunk repository: one commit a step, each a snapshot that stays readable."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zarr
from zarr.storage import WrapperStore

if TYPE_CHECKING:
    from icechunk import IcechunkStore, Repository

BRANCH = "main"


class Committing(WrapperStore):
    """The zarr store of a writable session; after a commit, of the next one.

    Parameters
    ----------
    store : IcechunkStore
        Of a session on the branch.
    repository : icechunk.Repository
        Where the sessions come from.
    where : str
        Its URL, for messages.
    """

    def __init__(self, store: IcechunkStore, repository: Repository, where: str):
        super().__init__(store)
        self.repository, self.where = repository, where

    def _with_store(self, store: IcechunkStore) -> Committing:
        return Committing(store, self.repository, self.where)

    def commit(self, message: str) -> None:
        """Make what was written since the last commit visible to everyone else, as a whole.

        Parameters
        ----------
        message : str
            What it is.

        Raises
        ------
        BlockingIOError
            If another process has committed since: it is named, and its work stands.
        """
        from icechunk import ConflictError

        session = self._store.session
        if not session.has_uncommitted_changes:
            return
        me = {"process": os.getpid(), "host": socket.gethostname()}
        try:
            session.commit(message, metadata=me)
        except ConflictError:
            last = next(iter(self.repository.ancestry(branch=BRANCH))).metadata
            raise BlockingIOError(
                f"store {self.where} has been written meanwhile by process "
                f"{last.get('process', '?')} on {last.get('host', '?')}: wait for it or stop it"
            ) from None
        self._store = self.repository.writable_session(BRANCH).store


def open_repository(where: str, options: Mapping[str, Any], *, write: bool) -> Any:
    """Open the branch ``main`` of an Icechunk repository.

    Parameters
    ----------
    where : str
        ``icechunk:///path`` or ``icechunk+s3://bucket/prefix``.
    options : mapping
        For ``icechunk.s3_storage``: `region`, `endpoint_url`, `access_key_id` and the like; by
        default the environment has the credentials.
    write : bool
        Whether to write; a repository is made where there is none.

    Returns
    -------
    zarr.abc.store.Store
        Of a writable session (`Committing`) or a read-only one.

    Raises
    ------
    FileNotFoundError
        If there is none to read.
    ValueError
        If icechunk is not installed, or the URL is of another kind.
    """
    try:
        import icechunk
    except ImportError:
        raise ValueError(
            f"cannot open store {where}: install `training-dynamics[icechunk]`"
        ) from None
    icechunk.set_logs_filter("error")  # it warns of concurrent commits, which our lock excludes
    protocol, _, path = where.partition("://")
    if protocol == "icechunk":
        if not write and not (Path(path) / "refs").exists():
            raise FileNotFoundError(f"no store at {where}: `dynamics crawl` makes one")
        storage = icechunk.local_filesystem_storage(str(Path(path).resolve()))
    elif protocol == "icechunk+s3":
        bucket, _, prefix = path.partition("/")
        given = {"from_env": True} if "access_key_id" not in options else {}
        storage = icechunk.s3_storage(bucket=bucket, prefix=prefix, **{**given, **options})
    else:
        raise ValueError(f"unknown kind of store {where!r}: icechunk:// or icechunk+s3://")
    if not icechunk.Repository.exists(storage):
        if not write:
            raise FileNotFoundError(f"no store at {where}: `dynamics crawl` makes one")
        found = icechunk.Repository.create(storage)
    else:
        found = icechunk.Repository.open(storage)
    if write:
        return Committing(found.writable_session(BRANCH).store, found, where)
    return found.readonly_session(BRANCH).store


def save(root: zarr.Group, message: str) -> None:
    """Commit what was written to a store, where its kind knows commits."""
    if isinstance(root.store, Committing):
        root.store.commit(message)

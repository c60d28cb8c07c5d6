"""Public data sets: where they are, what their files hash to, and how to get them.

A data set is looked for in ``$DYNAMICS_DATA/<name>`` first (a copy in the layout of its source),
then in the user's cache, into which it is downloaded once and checked file by file. A further one
is a `Dataset` and, under ``registry``, the list of its files' hashes (``sha256sum`` prints it).
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from dynamics.faults import sentence
from dynamics.filesystems import replacing
from dynamics.installation import load
from dynamics.tables import Table

logger = logging.getLogger(__name__)

RAW = "https://raw.githubusercontent.com/{repository}/{revision}/{path}"
# The first further attempt comes after a second, the next after two more.
RETRIES = 2
ARCHIVE = "https://codeload.github.com/{repository}/tar.gz/{revision}"


@dataclass(frozen=True)
class Dataset:
    """A public data set at a pinned revision.

    Attributes
    ----------
    name : str
        Name of the data set, and of its folder.
    repository : str or None
        ``owner/name`` on GitHub; a DOI of Zenodo, figshare or a Dataverse, such as
        ``doi:10.5281/zenodo.4924126``; or the URL of a folder. None where there is no public home
        to download from.
    revision : str
        Commit that the files are taken from, or a version of the DOI's record.
    licence : str
        Licence as the source states it.
    citation : str
        Whom to cite.
    archive_digest : str or None
        For data sets of thousands of files, which are fetched as one archive: SHA-256 of their
        hash list (see `tree_digest`). None: the hash list is part of the package and the files
        are fetched one by one.
    archive_folder : str
        The part of the archive that belongs to the data set.
    """

    name: str
    repository: str | None
    revision: str
    licence: str
    citation: str
    archive_digest: str | None = None
    archive_folder: str = ""


_DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            name="natsound165-neuron2015",
            repository="snormanhaignere/natsound165-neuron2015",
            revision="b41b99ff620d7997dbf278fc770f58566707726a",
            licence="none stated",
            citation="Norman-Haignere, Kanwisher, McDermott (2015), Distinct cortical pathways for "
            "music and speech revealed by hypothesis-free voxel decomposition, Neuron 88:1281, "
            "doi:10.1016/j.neuron.2015.11.035",
        ),
        Dataset(
            name="song-ecog-current-biology",
            repository="snormanhaignere/song-ecog-current-biology",
            revision="03bb41e95d04c191acd3b76b1c11d7185096f1f3",
            licence="none stated",
            citation="Norman-Haignere et al. (2022), A neural population selective for song in "
            "human auditory cortex, Current Biology 32:1470, doi:10.1016/j.cub.2022.01.069",
        ),
        Dataset(
            name="braindnn",
            repository="mrpep/braindnn",
            revision="2e481372019e8b9ac25081f6e0e040b352586844",
            licence="none stated",
            citation="Pepino et al. (2025), arXiv:2511.16849",
        ),
        Dataset(
            name="fsdd",
            repository="Jakobovski/free-spoken-digit-dataset",
            revision="26eb9aaf76e81b692f806f9140c2d2777410d7a1",
            licence="CC BY-SA 4.0",
            citation="Jackson et al., Free Spoken Digit Dataset, doi:10.5281/zenodo.1342401",
            archive_digest="04e1baae96c6a26e39c623f2b01d0182ddae627ba0ac02a3cdc17ba2af99fd9b",
            archive_folder="recordings",
        ),
        Dataset(
            name="naplib-speech",
            # Inside a package of PyPI, as one file of MATLAB: no home of these files themselves.
            repository=None,
            revision="2.6.0",
            licence="MIT (of the package naplib)",
            citation="Mischler, Raghavan, Keshishian, Mesgarani (2023), Naplib-python: Neural "
            "acoustic data processing and analysis tools in python, Software Impacts 17:100541, "
            "doi:10.1016/j.simpa.2023.100541; trials stim01 to stim06 of the sample data of its "
            "package, version 2.6.0",
        ),
        Dataset(
            name="pretraining-audio",
            repository=None,
            revision="",
            licence="free, package by package (CC BY-SA, CC BY, CC0, GPL and others)",
            citation="Recordings inside Debian 12 packages, converted to 24 kHz Opus",
        ),
    )
}

DATASETS = Table("data set", dict(sorted(_DATASETS.items())))
"""By name."""


def folder(name: str) -> Path:
    """Return the folder of a data set, downloading it where there is no copy yet.

    Parameters
    ----------
    name : str
        One of `DATASETS`.

    Returns
    -------
    Path
        Folder in the layout of the data set's source. Local copies are trusted as they are;
        downloads are checked against the pinned hashes once, when they are made.

    Raises
    ------
    ValueError
        For an unknown name, and for a download whose content is not the pinned one.
    FileNotFoundError
        Where ``DYNAMICS_DATA`` names no folder, or a data set that is not public is not in it.
    ConnectionError
        Where a download is needed and fails.
    """
    if (found := find(name)) is not None:
        return found
    dataset = DATASETS[name]
    if dataset.repository is None:
        raise FileNotFoundError(
            f"data set '{name}' cannot be downloaded ({dataset.citation}): put a copy at "
            f"<folder>/{name} and set the environment variable DYNAMICS_DATA to <folder>"
        )
    target = _cache_folder(dataset)
    logger.info("downloading data set %s (licence: %s) into %s", name, dataset.licence, target)
    if dataset.archive_digest is None:
        _download_files(dataset, target)
    else:
        _download_archive(dataset, target)
    _marker(dataset, target).touch()
    return target


def find(name: str) -> Path | None:
    """Return the folder of a data set if there is a copy of it, without downloading.

    Parameters
    ----------
    name : str
        One of `DATASETS`.

    Returns
    -------
    Path or None
        ``$DYNAMICS_DATA/<name>``, else the finished download, else None.

    Raises
    ------
    ValueError
        For an unknown name.
    FileNotFoundError
        Where ``DYNAMICS_DATA`` is set to something that is not a folder.
    """
    dataset = DATASETS.find(name)
    if root := os.environ.get("DYNAMICS_DATA"):
        local = Path(root).expanduser()
        if not local.is_dir():
            raise FileNotFoundError(
                f"the environment variable DYNAMICS_DATA is '{root}', which is not a folder: "
                "correct or unset it"
            )
        if (local / name).is_dir():
            return local / name
    cached = _cache_folder(dataset)
    return cached if _marker(dataset, cached).exists() else None


def hash_list(name: str) -> dict[str, str]:
    """Return the SHA-256 of every file of a data set that is fetched file by file.

    Parameters
    ----------
    name : str
        A data set whose hash list is part of the package.

    Returns
    -------
    dict of str to str
        Path within the data set's folder to SHA-256, in hexadecimal.
    """
    text = (resources.files("dynamics") / "registry" / f"{name}.sha256").read_text("utf-8")
    return {path: digest for digest, path in (line.split(maxsplit=1) for line in text.splitlines())}


def tree_digest(root: Path, subfolder: str = "") -> str:
    """Return one SHA-256 for all files below a folder: that of their sorted hash list.

    The list has one line a file, ``<sha256>  <path within root>``, sorted by path: what
    ``sha256sum`` prints in the C locale.

    Parameters
    ----------
    root : Path
        The data set's folder.
    subfolder : str
        The part of it to look at.

    Returns
    -------
    str
        SHA-256 in hexadecimal.
    """
    paths = sorted(
        path.relative_to(root).as_posix()
        for path in (root / subfolder).rglob("*")
        if path.is_file()
    )
    lines = (f"{hashlib.sha256((root / p).read_bytes()).hexdigest()}  {p}\n" for p in paths)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _pooch() -> Any:
    """Return the library that downloads, which nothing else needs."""
    load("pooch")
    return sys.modules["pooch"]


def _cache_folder(dataset: Dataset) -> Path:
    return Path(_pooch().os_cache("training-dynamics")) / f"{dataset.name}-{dataset.revision[:8]}"


def _marker(dataset: Dataset, target: Path) -> Path:
    # Named after the hashes, so that a changed hash list asks for the files again.
    pinned = dataset.archive_digest
    if pinned is None and dataset.repository is not None:
        pinned = hashlib.sha256(repr(sorted(hash_list(dataset.name).items())).encode()).hexdigest()
    return target / f".complete-{(pinned or '')[:16]}"


def _download_files(dataset: Dataset, target: Path) -> None:
    home = dataset.repository or ""
    if not home.startswith(("doi:", "http://", "https://", "ftp://")):
        home = RAW.format(repository=home, revision=dataset.revision, path="")
    hashes = {path: f"sha256:{digest}" for path, digest in hash_list(dataset.name).items()}
    files = _pooch().create(
        path=target, base_url=f"{home.rstrip('/')}/", registry=hashes, retry_if_failed=RETRIES
    )
    for path in hashes:
        with _told(dataset, files.get_url(path)):
            files.fetch(path)


def _download_archive(dataset: Dataset, target: Path) -> None:
    url = ARCHIVE.format(repository=dataset.repository, revision=dataset.revision)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        packed, unpacked = Path(scratch) / "archive.tar.gz", Path(scratch) / "files"
        with _told(dataset, url):
            # A forge's archive has no stable hash of its own: its files are checked instead.
            _pooch().retrieve(url, known_hash=None, fname=packed.name, path=packed.parent)
        try:
            with tarfile.open(packed) as archive:
                archive.extractall(unpacked, filter="data")
            (top,) = unpacked.iterdir()
        except (tarfile.TarError, EOFError, ValueError) as error:
            raise ValueError(
                f"the archive of data set '{dataset.name}' from {url} cannot be unpacked "
                f"({error}): try again"
            ) from error
        if tree_digest(top, dataset.archive_folder) != dataset.archive_digest:
            raise ValueError(
                f"the files of data set '{dataset.name}' from {url} are not those of the pinned "
                "revision: try again, and report it if it happens twice"
            )
        with replacing(target) as beside:
            os.replace(top, beside)


@contextlib.contextmanager
def _told(dataset: Dataset, url: str) -> Iterator[None]:
    """Say in one sentence what went wrong with a download, and what to do."""
    # One line a data set is enough; pooch would write one a file.
    _pooch().get_logger().setLevel("WARNING")
    try:
        yield
    except ValueError as error:
        if "known hash" not in str(error):
            raise ValueError(f"data set '{dataset.name}', {url}: {sentence(error)}") from error
        raise ValueError(
            f"{url} does not have the pinned SHA-256 of data set '{dataset.name}': try again, "
            "and report it if it happens twice"
        ) from error
    except OSError as error:
        raise ConnectionError(
            f"data set '{dataset.name}' could not be downloaded from {url} "
            f"({type(error).__name__}): connect to the network, or set the environment variable "
            f"DYNAMICS_DATA to a folder that holds a copy named '{dataset.name}'"
        ) from error

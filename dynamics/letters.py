"""Names that anybody gave to runs, layers and files, where a program would obey what is in them.

A terminal obeys escapes, a page and a reader's eye marks of direction, a spreadsheet formulas,
Markdown its own signs.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

# What makes a spreadsheet take a text for a formula, also in full width and after blanks.
_FORMULA = re.compile(r"\s*[=+\-@\t\r\uFF1D\uFF0B\uFF0D\uFF20]")
# Folders of a path from the root of a machine, which addresses of other kinds have not.
_FOLDERS = re.compile(r"(?<![\w:/.~+])(?:file://)?/(?:[^/\s'\"`<>,;]+/){2,}(?=[^/\s])")
_MARKDOWN = re.compile(r"([\\|<>`\[\]])")


def readable(text: str) -> str:
    r"""Write out what is not seen or is obeyed: control characters, marks of direction, half pairs.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        Such as ``\x1b[31m`` in letters; spaces of any width stay.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or unicodedata.category(c) == "Zs" else repr(c)[1:-1] for c in text
    )


def lines(text: str) -> str:
    """Return a text of several lines, each of them `readable`."""
    return "\n".join(map(readable, text.split("\n")))


def plain(value: Any) -> Any:
    """Return nested mappings and lists whose texts are `lines`."""
    if isinstance(value, str):
        return lines(value)
    if isinstance(value, Mapping):
        return {plain(key): plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value


def without_folders(text: str) -> str:
    """Cut the folders of paths that begin at the root of a machine: they are nobody's business.

    Parameters
    ----------
    text : str
        A path, or a sentence with some.

    Returns
    -------
    str
        Such as ``…/epoch=3.ckpt``; addresses of the web or a bucket stay.
    """
    if text.startswith("data:"):
        return text
    whole = text.removeprefix("file://")
    if whole.startswith("/") and ": " not in whole and whole.count("/") > 2:
        return f"…/{whole.rstrip('/').rpartition('/')[2]}"
    return _FOLDERS.sub("…/", text)


def in_sheet(value: Any) -> Any:
    """Write a text so that no spreadsheet takes it for a formula; what is no text stays."""
    if not isinstance(value, str):
        return value
    return f"'{readable(value)}" if _FORMULA.match(value) else readable(value)


def in_markdown(text: str) -> str:
    """Leave nothing in a text that would end its cell or line, or be a link, code or HTML."""
    return _MARKDOWN.sub(r"\\\1", readable(text.replace("\n", " ")))

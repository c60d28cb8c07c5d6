"""Names that a terminal, a page, a spreadsheet or a formula would obey are shown as they are."""

import base64
import csv
import html.parser
import logging
import re
import sys
import xml.dom.minidom

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import report_store

from dynamics import letters, store
from dynamics.cli import _Once, main
from dynamics.cli.console import out, told
from dynamics.collection import writing
from dynamics.report import write

TURNED, BELL = "\u202e", "\x1b[31m\x07"
NAMES = (
    "<script>window.hacked=1</script>", '"><img src=x onerror=alert(1)>', "=1+1", "+1", "-1", "@a",
    "\t=1+1", " =1+1", "\uff1d1+1", "$x^{2}$", "$\\frac{", "a\\b_c%d#e&f~g^h{i}", f"red{BELL}",
    f"turned{TURNED}gpj.exe", "a|b\nc", "[a](javascript:alert(1))", "`x`", "![x](http://t/p.png)",
)  # fmt: skip


def harmless(text):
    """Whether a terminal or an eye is not led astray by a text."""
    return all(c.isprintable() or c in "\n " for c in text)


class Attributes(html.parser.HTMLParser):
    """Which attributes the tags of a page have, and the pictures in it."""

    def __init__(self, page):
        super().__init__()
        self.found, self.pictures = set(), []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.update(name for name, _ in attrs)
        for name, value in attrs:
            if name == "src" and value.startswith("data:image/svg+xml;base64,"):
                self.pictures.append(base64.b64decode(value.partition(",")[2]))


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_shown_by_a_terminal_and_a_log_and_not_obeyed(name, capsys):
    out.print(name, markup=False, soft_wrap=True)
    told({"name": name, name: [name]})
    assert harmless(capsys.readouterr().out)
    record = logging.LogRecord("dynamics", logging.WARNING, "", 0, "bad %s", (name,), None)
    _Once().filter(record)
    assert harmless(record.getMessage())


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_no_formula_in_a_sheet_and_no_link_in_markdown(name, tmp_path):
    table = pd.DataFrame({"run": [name, "b"], name: ["c", name], "score": [1.5, 2.5]})
    sheet, page = writing.write(tmp_path, "table", table)
    with sheet.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert len(rows) == 3 and rows[1][2] == "1.5"
    for cell in (rows[0][1], rows[1][0], rows[2][1]):
        assert cell.lstrip()[0] not in "=+-@\uff1d" and harmless(cell)
    lines = page.read_text(encoding="utf-8")
    assert harmless(lines) and len(lines.splitlines()) == 4
    assert not re.search(r"(?<!\\)[<`\[]", lines)
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 4 for line in lines.splitlines())


def test_what_is_harmless_stays_as_it_is():
    for text in ("layer.1", "発話 音楽", "an\u3000ideographic space", "é", "a b", "1e-3"):
        assert letters.readable(text) == letters.in_sheet(text) == text
    assert letters.plain({"a": ["b\x1b", 1, None]}) == {"a": ["b\\x1b", 1, None]}
    assert letters.in_sheet(-1.5) == -1.5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/me/my runs/a=3.ckpt", "…/a=3.ckpt"),
        ("file:///home/me/a.zarr", "…/a.zarr"),
        ("cannot read '/home/me/runs/a.pt': cut off", "cannot read '…/a.pt': cut off"),
        ("s3://bucket/a/b.pt, hf://me/net@main, http://h/a/b/c", None),
        ("data:image/png;base64,/9j/4AA/QSk/Z", None),
        ("a/b and/or 3/4/5, ../x/y, ~/a/b/c, N/A", None),
    ],
)
def test_no_folder_of_a_machine_is_shown(text, expected):
    assert letters.without_folders(text) == (expected or text)


def test_a_report_names_no_folder_unless_asked(tmp_path):
    folder = "/home/somebody/secret project"
    path = tmp_path / "s.zarr"
    report_store.make(
        path, results=False, failed={7: f"cannot read '{folder.split()[0]}/x/a.ckpt': cut off"}
    )
    root = store.open_group(path, mode="r+")
    store.amend(root, {0: {"uri": f"{folder}/step=0.ckpt"}})
    for paths in (False, True):
        page = write(path, output=tmp_path / "r.html", paths=paths).read_text(encoding="utf-8")
        assert ("/home/somebody" in page) == (str(tmp_path) in page) == paths
        assert "step=0.ckpt" in page and "a.ckpt" in page


@pytest.mark.slow
def test_reports_and_figures_of_hostile_names_obey_none(tmp_path, monkeypatch, capsys):
    names = [name for name in NAMES if "/" not in name and "\n" not in name]
    path = tmp_path / "s.zarr"
    report_store.make(path, run=NAMES[0] + BELL, parts=tuple(names), failed={7: BELL + TURNED})
    with plt.rc_context({"text.parse_math": True}):
        page = write(path, output=tmp_path / "report.html").read_text(encoding="utf-8")
    text = re.sub(r"<script(?: type=\S+ id=\S+)?>.*?</script>", "", page, flags=re.DOTALL)
    assert harmless(page.replace("\t", " ")) and "window.hacked=1</script>" not in text
    seen = Attributes(text)
    assert "$x^{2}$" in text and not any(name.startswith("on") for name in seen.found)
    assert seen.pictures
    for picture in seen.pictures:
        xml.dom.minidom.parseString(picture)
    for each in (f"status {path}", f"verify {path}", f"compare {path} {path} --output out"):
        monkeypatch.setattr(sys, "argv", ["dynamics", *each.split()])
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SystemExit):
            main()
        said = capsys.readouterr()
        assert harmless(said.out) and harmless(said.err), each
    assert store.open(path).attrs["run"].endswith(BELL)

"""Help at length: what it shows is there, and what is made from the code is whole."""

import json
import re
from pathlib import Path

import pytest

from dynamics.cli import topics
from dynamics.cli.program import app
from dynamics.config import Sweep

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
CONFIGS = Path(__file__).parent.parent / "configs"


def shown(capsys, *words):
    app(["help", *words], standalone_mode=False)
    return capsys.readouterr().out


def test_the_list_has_every_topic_and_each_can_be_shown(capsys):
    said = shown(capsys)
    assert all(topic in said for topic in topics.topics())
    assert set(json.loads(shown(capsys, "--json"))) == set(topics.topics())
    for topic in topics.topics():
        assert len(topics.show(topic)) > 300, topic


def test_a_page_is_shown_whole_and_a_heading_by_its_words(capsys):
    assert shown(capsys, "first-hour").strip() == topics.show("first-hour").strip()
    part = shown(capsys, "lightning")
    assert part.startswith("## Lightning") and "## Recordings" not in part
    assert "Trainer" in topics.show("Hugging Face")


def test_what_is_no_topic_is_said_with_what_is_near():
    with pytest.raises(ValueError, match="no help on 'metrik'; did you mean 'metric'"):
        topics.show("metrik")
    with pytest.raises(ValueError, match="no help on 'zzz'; there are keys, commands"):
        topics.show("zzz")


def test_the_reference_of_keys_and_commands_is_made_from_the_code():
    keys = topics.show("keys")
    for key in Sweep.model_fields:
        assert re.search(rf"`{key}`", keys), key
    commands = topics.show("commands")
    names = {command.callback.__name__ for command in app.registered_commands}
    assert names == set(re.findall(r"^## dynamics (\w+)", commands, re.MULTILINE))
    assert commands.count("Example: `dynamics ") == len(names)
    assert "`--figure`: emergence, heatmap" in commands
    assert topics.command_table() in README


def test_what_the_readme_links_is_there():
    for place in re.findall(r"\]\((configs/[^)#]+)", README):
        assert (CONFIGS.parent / place).exists(), place
    for topic in re.findall(r"`dynamics help ([a-z0-9-]+)`", README):
        assert topics.show(topic)
    pages = {path.stem for path in CONFIGS.glob("*.md")}
    assert pages <= set(re.findall(r"\(configs/([\w-]+)\.md", README))
    for picture in (CONFIGS / "figures").glob("*"):
        assert picture.stat().st_size < 150_000 and picture.name in README

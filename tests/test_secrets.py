"""Passwords, tokens and signed addresses never reach what is stored, shown or logged."""

import functools
import http.server
import threading

import pytest
import yaml
from forked import Forks
from tiny_run import sweep_in

from dynamics import secrets
from dynamics.cli import program
from dynamics.config import validate

MARK = "s3cr3tMARK"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"https://me:{MARK}@host:80/a/b.ckpt", "https://host:80/a/b.ckpt"),
        (f"no 's3://{MARK}:{MARK}@b/x': bad name '{MARK}@b'", "no 's3://b/x': bad name '***@b'"),
        (f"'http:/me:{MARK}@host/a?t={MARK}' is not there", "'http://host/a' is not there"),
        (f"https://h/a?X-Amz-Signature={MARK}&a=1: {MARK}", "https://h/a ***"),
        ("s3://bucket/step_??.pt and s3://bucket/*.pt",) * 2,
        ("hf://owner/name@main, file:///a b, C:\\x, http://[::1]:8/a",) * 2,
        ("https://[broken", "https://[broken"),
        ("no address, key=value, a@b",) * 2,
    ],
)
def test_addresses_are_shown_without_what_opens_them(text, expected):
    assert secrets.redacted(text) == expected


def test_addresses_lose_what_may_be_a_secret():
    signed = "https://me:pw@host.org/a/b.ckpt?X-Signature=abc#frag"
    assert secrets.public(signed) == "https://host.org/a/b.ckpt"
    assert secrets.public("/runs/a?b.ckpt") == "/runs/a?b.ckpt"
    assert secrets.public("s3://bucket/a.ckpt") == "s3://bucket/a.ckpt"


def test_options_are_hidden_wherever_they_turn_up(monkeypatch):
    monkeypatch.setattr(secrets, "_known", set())
    options = {
        "client_kwargs": {"headers": {"Authorization": f"Bearer {MARK}-1"}, "region": "us-east-1"},
        "secret": f"{MARK}-2", "accounts": [{"account_key": f"{MARK}-3"}], "endpoint": "https://h/",
    }  # fmt: skip
    secrets.keep(options)
    told = secrets.redacted(f"a {MARK}-1 b {MARK}-2, {MARK}-3: us-east-1")
    assert told == "a *** b ***, ***: us-east-1"


@pytest.mark.parametrize("key", ["storage_options", "store_options"])
@pytest.mark.parametrize("value", [MARK, [{"key": MARK}], 3])
def test_a_fault_of_options_does_not_repeat_them(key, value, tmp_path):
    with pytest.raises(ValueError, match=f"`{key}`") as refused:
        validate(sweep_in(tmp_path, (0,)) | {key: value}, origin="test")
    assert MARK not in str(refused.value)


@pytest.fixture
def served(tmp_path):
    """A sweep of checkpoints that a server has; addresses and options hold a secret."""
    content = sweep_in(
        tmp_path, (0, 10), baseline=None, workers=1, untrained=0, metrics=["rsa"], resamples=4,
        stimuli={"name": "synthetic", "arguments": {"per_kind": 6, "seconds": 0.4}}, folds=3,
    )  # fmt: skip

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path / "checkpoints"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://me:{MARK}@127.0.0.1:{server.server_port}"
    files = {step: f"{base}/epoch=0-step={step}.ckpt?token={MARK}&t={MARK}" for step in (0, 10)}
    options = {"client_kwargs": {"headers": {"X-Token": MARK}}}
    yield content | {"checkpoints": files, "storage_options": options}
    server.shutdown()


# Commands that end well, those of stores and sweeps that cannot be reached, and bad arguments.
WELL = (
    "run sweep.yaml", "status sweep.yaml", "checkpoints sweep.yaml --json", "verify sweep.yaml",
    "report sweep.yaml", "redo sweep.yaml --step 10", "crawl sweep.yaml", "plot sweep.yaml",
    "compare tiny.zarr sweep.yaml", "status sweep.yaml --json", "redo sweep.yaml --damaged",
    "analyze sweep.yaml", "unlock sweep.yaml", "schema", "verify tiny.zarr",
)  # fmt: skip
PLACE = f"http://me:{MARK}@127.0.0.1:9/none.zarr?token={MARK}"
AMISS = (
    f"status {PLACE}", f"verify {PLACE}", f"report {PLACE}", f"redo {PLACE} --step 1",
    f"unlock {PLACE}", f"compare {PLACE} tiny.zarr", "compare collection.yaml", f"power {PLACE}",
    f"target {PLACE}.nc", f"init {PLACE}", f"help {PLACE}", f"crawl {PLACE}", f"brains {PLACE}",
    f"sounds {PLACE}", f"models {PLACE}", f"metrics {PLACE}", f"poolings {PLACE}", f"tasks {PLACE}",
    f"analyze {PLACE}", f"probe {PLACE}", f"plot {PLACE}", f"run {PLACE}", f"watch {PLACE}",
    f"checkpoints {PLACE}", f"pretrain {PLACE}", f"redo {PLACE} --damaged",
    f"status {PLACE} --json", f"report tiny.zarr --output {PLACE}", "probe sweep.yaml",
    f"redo tiny.zarr --results {PLACE}",
    f"crawl sweep.yaml --scheduler tcp://me:{MARK}@127.0.0.1:9",
)  # fmt: skip


def test_every_command_is_among_those_that_are_tried():
    tried = {words.split()[0] for words in (*WELL, *AMISS)} | {"doctor"}
    known = {each.name or each.callback.__name__ for each in program.app.registered_commands}
    # `demo` takes nothing that could hold a secret.
    assert known - tried == {"demo"}


@pytest.mark.slow
@pytest.mark.guards(1)
@pytest.mark.timeout(600)
def test_no_command_lets_a_secret_out(served, tmp_path, tmp_path_factory):
    forks = Forks(tmp_path_factory.mktemp("logs"))

    def ran(words, content=served):
        (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(content))
        process = forks.start("dynamics", *words.split(), cwd=tmp_path)
        code = process.wait(300)
        assert MARK not in process.output() + process.errors(), words
        assert "Traceback" not in process.errors(), (words, process.errors())
        return code, process.errors()

    try:
        collection = {"name": "all", "runs": [{"store": PLACE}, {"store": "tiny.zarr"}]}
        (tmp_path / "collection.yaml").write_text(yaml.safe_dump(collection))
        for words in WELL:
            code, errors = ran(words)
            assert code == 0, (words, errors)
        ran("doctor")
        ran("redo sweep.yaml --step 10")
        for words in AMISS:
            code, errors = ran(words)
            # A run that is not there is left out of a comparison.
            assert code or words.startswith("compare"), (words, errors)
        first = next(iter(served["checkpoints"].values()))
        for change in (
            {"checkpoints": {0: first.replace("step=0", "none")}},
            {"checkpoints": first.partition("epoch")[0] + f"none/?token={MARK}"},
            {"checkpoints": f"hf://me:{MARK}@owner/name"},
            {"targets": [f"https://me:{MARK}@127.0.0.1:9/t.nc?token={MARK}"]},
            {"store": PLACE, "store_options": {"key": MARK}},
        ):
            assert ran("run sweep.yaml", served | change)[0] == 2, change
    finally:
        forks.close()
    leaked = [
        str(path)
        for path in tmp_path.rglob("*")
        if path.is_file()
        and path.name not in ("sweep.yaml", "collection.yaml")
        and MARK.encode() in path.read_bytes()
    ]
    assert not leaked

"""A local S3 server, and one before it that fails on request, for the tests of several rooms."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from flaky import Flaky

BUCKET = "stores"


def start() -> Any:
    """Start a server; its `stop` ends it."""
    server = pytest.importorskip("moto.server", reason="needs moto, a local S3 server")
    pytest.importorskip("s3fs")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    return running


def options_of(port: int) -> dict[str, Any]:
    """Return what s3fs needs to reach a server, credentials included."""
    return {
        "key": "test",
        "secret": "test",
        "client_kwargs": {"endpoint_url": f"http://127.0.0.1:{port}", "region_name": "us-east-1"},
        "config_kwargs": {"read_timeout": 5, "retries": {"max_attempts": 1}},
    }


def empty_bucket(port: int, name: str = BUCKET) -> None:
    """Make a bucket, or empty one that is there."""
    import s3fs

    storage = s3fs.S3FileSystem(**options_of(port), use_listings_cache=False)
    if storage.exists(name):
        for path in storage.find(name):
            storage.rm_file(path)
    else:
        storage.call_s3("create_bucket", Bucket=name)


class FlakyStore(Flaky):
    """Hands requests on, and refuses writes once `writes_left` have passed; counts requests."""

    def __init__(self, port: int):
        super().__init__(port)
        self.writes_left: int | None = None
        self.asked: Counter[str] = Counter()

    def forward(self, handler: Any, port: int, pause: float) -> None:
        self.asked[handler.command] += 1
        if handler.command in ("PUT", "POST", "DELETE") and self.writes_left is not None:
            self.writes_left -= 1
            if self.writes_left < 0:
                handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
                handler.send_response(403)
                handler.send_header("Content-Length", "0")
                handler.end_headers()
                return
        super().forward(handler, port, pause)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.server.server_port

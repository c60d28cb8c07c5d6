"""A local web server before another one, which can be told to fail in the ways networks fail."""

from __future__ import annotations

import http.client
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Flaky:
    """Hands requests on; each entry of `faults` spoils one answer with a body.

    ``cut`` closes the connection half-way, ``500`` answers with an error, ``flip`` changes a byte,
    ``stall`` waits `pause` seconds before it closes.
    """

    def __init__(self, port: int, pause: float = 5.0):
        self.faults: list[str] = []
        self.always: str = ""
        self.served = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # or a body waits 40 ms for its headers to arrive

            def forward(self):
                outer.forward(self, port, pause)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = forward  # noqa: N815

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def forward(self, handler, port, pause):
        size = int(handler.headers.get("Content-Length") or 0)
        body = handler.rfile.read(size) if size else None
        onward = http.client.HTTPConnection("127.0.0.1", port)
        onward.request(handler.command, handler.path, body, dict(handler.headers))
        answer = onward.getresponse()
        content = answer.read()
        spoils = handler.command == "GET" and "list-type" not in handler.path and len(content) > 999
        fault = self.always or (self.faults.pop(0) if self.faults else "") if spoils else ""
        self.served += spoils
        handler.send_response(500 if fault == "500" else answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                handler.send_header(name, value)
        length = answer.getheader("Content-Length") if handler.command == "HEAD" else len(content)
        handler.send_header("Content-Length", str(length or 0))
        handler.end_headers()
        if fault == "flip":
            content = content[:500] + bytes([content[500] ^ 1]) + content[501:]
        if fault in ("cut", "stall"):
            handler.wfile.write(content[: len(content) // 2])
            handler.wfile.flush()
            time.sleep(pause if fault == "stall" else 0)
            handler.close_connection = True
            handler.connection.close()
        elif handler.command != "HEAD":
            handler.wfile.write(content)

    def close(self):
        self.server.shutdown()
        self.server.server_close()

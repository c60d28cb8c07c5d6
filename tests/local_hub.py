"""A model hub on this machine: the parts of its interface that listing and fetching use."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import threading
from urllib.parse import unquote


@contextlib.contextmanager
def serving(handler):
    """Run a web server; the value is its address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def hub(files, *, repository="lab/run", moved=None, commits=()):
    """Serve one repository with files by revision and path; the value is for `storage_options`."""
    contents = {"files": files, "refs": dict.fromkeys(files), "repository": repository}
    contents["moved"] = {} if moved is None else moved
    contents["commits"] = dict(commits)
    with serving(type("Handler", (Hub,), contents)) as url:
        yield {"endpoint": url, "token": False, "skip_instance_cache": True}


class Hub(http.server.BaseHTTPRequestHandler):
    """The parts of a model hub's interface that listing and fetching use."""

    protocol_version = "HTTP/1.1"
    refs: dict
    files: dict
    moved: dict
    commits: dict  # of branches that have another commit than by `commit`
    repository = "lab/run"

    def do_GET(self):
        path = unquote(self.path.partition("?")[0])
        api = f"/api/models/{self.repository}/"
        if path == f"{api}refs":
            body = [
                {"name": name, "ref": f"refs/heads/{name}", "targetCommit": self.commit_of(name)}
                for name in self.refs
            ]
            return self.answer({"branches": body, "converts": [], "tags": []})
        if path == api.rstrip("/") or path.startswith(f"{api}revision/"):
            revision = path.rpartition("/revision/")[2] if "/revision/" in path else "main"
            sha = self.commit_of(revision) if revision in self.refs else revision
            sha = self.moved.get(revision, sha)
            return self.answer({"id": self.repository, "sha": sha, "siblings": []})
        if path.startswith(f"{api}tree/"):
            revision, folder = self.parted(path.removeprefix(f"{api}tree/"))
            found = {n: b for n, b in self.at(revision).items() if n.startswith(folder)}
            return self.answer(
                [
                    {"type": "file", "path": n, "size": len(b), "oid": "1" * 40, "lfs": lfs(b)}
                    for n, b in found.items()
                ]
            )
        if path.startswith(f"{api}paths-info/"):
            return self.answer([])
        files = f"/{self.repository}/resolve/"
        if path.startswith(files):
            revision, name = self.parted(path.removeprefix(files))
            return self.content(self.at(revision)[name])
        return self.answer({"error": "no such thing"}, 404)

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self):
        size = int(self.headers.get("Content-Length") or 0)
        asked = self.rfile.read(size).decode()
        revision = unquote(self.path.rpartition("/")[2])
        paths = json.loads(asked)["paths"] if asked.startswith("{") else []
        found = []
        for path in paths:
            if path in self.at(revision):
                body = self.at(revision)[path]
                found.append(
                    {"type": "file", "path": path, "size": len(body), "oid": "1" * 40,
                     "lfs": lfs(body)}
                )  # fmt: skip
        self.answer(found)

    def commit_of(self, name):
        return self.commits.get(name, commit(name))

    def parted(self, path):
        """Revision, whose name may have slashes, and what follows it."""
        known = (name for name in self.files if path == name or path.startswith(f"{name}/"))
        revision = max(known, key=len, default=path.partition("/")[0])
        return revision, path.removeprefix(revision).lstrip("/")

    def at(self, revision):
        """Files of a branch, by its name or by its commit."""
        names = {self.moved.get(name, self.commit_of(name)): name for name in self.refs}
        return self.files.get(names.get(revision, revision), {})

    def answer(self, body, status=200):
        self.content(json.dumps(body).encode(), status)

    def content(self, body, status=200):
        wanted = self.headers.get("Range")
        if wanted:
            low, _, high = wanted.removeprefix("bytes=").partition("-")
            body, status = body[int(low) : int(high) + 1 if high else None], 206
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def commit(name):
    """Commit of a branch."""
    return (name.replace("/", "-") * 40)[:40]


def lfs(body):
    return {"oid": hashlib.sha256(body).hexdigest(), "size": len(body), "pointerSize": 100}

"""A small HTTP server for tests: plain files, the Hugging Face hub's layout, and faults to order."""
from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import json
import re
import threading
import time
from dataclasses import dataclass, field

HUB = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
API = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)(/revision/.+)?")
COMMITS = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/commit/.+")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    range: str
    status: int
    sent: int           # bytes of the body


@dataclass
class Server:
    """`files`: path -> bytes, for the hub "/owner/name/file".  `faults`: path -> faults of its next
    GETs, in order.

    A fault is a status, ("cut", n) for n bytes and a lost connection, ("slow", n, seconds) for a pause after
    n bytes, or ("answer", status, headers, pieces) for these headers and bytes, and a lost connection.
    """
    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list] = field(default_factory=dict)
    log: list[Request] = field(default_factory=list)
    etags: bool = True
    etag_of: dict[str, str] = field(default_factory=dict)       # a lie, where the test wants one
    headers_of: dict[str, dict] = field(default_factory=dict)   # path -> other headers of its answers
    refuses_commits: int = 0            # the status of the answer to every POST, 0 to take commits
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def gets(self, path: str) -> list[Request]:
        """Of a file, wherever the hub's layout has it."""
        return [r for r in self.log if r.method == "GET" and re.sub("/resolve/[^/]+", "", r.path) == path]

    def sent(self) -> int:
        return sum(r.sent for r in self.log)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: http.server.ThreadingHTTPServer

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def do_POST(self):
        """Takes a commit as the hub does: the repository, how files are sent (in the commit), the files."""
        state: Server = self.server.state
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.partition("?")[0]
        if state.refuses_commits:
            return self.short(state, state.refuses_commits, None)
        if path == "/api/repos/create":
            sent = json.loads(body)
            return self.json(state, {"url": f"{state.url}/{sent['organization']}/{sent['name']}"})
        if "/preupload/" in path:
            return self.json(state, {"files": [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                for file in json.loads(body)["files"]]})
        if path == "/api/validate-yaml":        # of a card
            return self.json(state, {"warnings": [], "errors": []})
        repo = COMMITS.fullmatch(path)["repo"]
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                content = base64.b64decode(line["value"]["content"])
                state.files[f"/{repo}/{line['value']['path']}"] = content
        url = f"{state.url}/{repo}/commit/{COMMIT}"
        self.json(state, {"success": True, "commitOid": COMMIT, "commitUrl": url, "hookOutput": ""})

    def json(self, state: Server, answer) -> None:
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.note(state, 200, len(data))

    def answer(self, body: bool) -> None:
        state: Server = self.server.state
        path = self.path.partition("?")[0]
        if match := API.fullmatch(path):
            return self.listing(state, match["repo"])
        hub = HUB.fullmatch(path)
        key = f"/{hub['repo']}/{hub['file']}" if hub else path
        faults = state.faults.get(key, [])
        fault = faults.pop(0) if faults and (body or isinstance(faults[0], int)) else None
        if isinstance(fault, int) or key not in state.files:
            return self.short(state, fault or 404, hub)
        if fault and fault[0] == "answer":
            return self.exactly(state, *fault[1:])
        data = state.files[key]
        digest = state.etag_of.get(key, hashlib.sha256(data).hexdigest())
        tag, first = f'"{digest}"', 0
        asked = self.headers.get("Range", "")
        if asked and self.headers.get("If-Range") in (None, tag):
            first = int(re.match(r"bytes=(\d+)-", asked)[1])
        status = 206 if first or asked and self.headers.get("If-Range") in (None, tag) else 200
        if first >= len(data):
            return self.short(state, 416, hub)
        self.send_response(status)
        if state.etags:
            self.send_header("ETag", tag)
        if hub:
            for name, value in (
                ("X-Linked-Etag", tag),
                ("X-Linked-Size", len(data)),
                ("X-Repo-Commit", COMMIT),
            ):
                self.send_header(name, str(value))
        for name, value in state.headers_of.get(key, {}).items():
            self.send_header(name, value)
        self.send_header("Accept-Ranges", "bytes")
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - first))
        rest = data[first:] if body else b""
        rest = rest[:fault[1]] if fault and fault[0] == "cut" else rest
        self.note(state, status, len(rest))     # before the client can know of it
        self.end_headers()
        with contextlib.suppress(OSError):      # a client that does not wait
            self.body(rest, fault)

    def body(self, data: bytes, fault) -> None:
        if fault and fault[0] == "slow":
            self.wfile.write(data[:fault[1]])
            self.wfile.flush()
            time.sleep(fault[2])
            data = data[fault[1]:]
        self.wfile.write(data)
        self.close_connection = fault is not None

    def exactly(self, state: Server, status: int, headers: dict, pieces) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.close_connection, sent = True, 0
        with contextlib.suppress(OSError):
            for piece in pieces:
                self.wfile.write(piece)
                self.wfile.flush()
                sent += len(piece)
        self.note(state, status, sent)

    def short(self, state: Server, status: int, hub) -> None:
        self.send_response(status)
        if hub and status == 404:
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", "0")
        self.note(state, status, 0)
        self.end_headers()

    def listing(self, state: Server, repo: str) -> None:
        siblings = [
            {
                "rfilename": path.removeprefix(f"/{repo}/"),
                "size": len(data),
                "lfs": {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134},
            }
            for path, data in state.files.items()
            if path.startswith(f"/{repo}/")
        ]
        data = json.dumps(
            {"id": repo, "sha": COMMIT, "siblings": siblings, "tags": [], "private": False}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.note(state, 200, 0)

    def note(self, state: Server, status: int, sent: int) -> None:
        state.log.append(
            Request(self.command, self.path.partition("?")[0], self.headers.get("Range", ""), status, sent)
        )

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def running():
    """A server on a free port of 127.0.0.1."""
    http_server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http_server.daemon_threads = True
    http_server.request_queue_size = 64
    http_server.state = Server(port=http_server.server_address[1])
    thread = threading.Thread(target=http_server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield http_server.state
    finally:
        http_server.shutdown()
        http_server.server_close()

"""A proxy in front of a real S3 server that disturbs requests by a seeded plan.

Which try of which request is disturbed, and how, depends on the seed, the request and the number of the try alone, not
on the order in which threads come.
"""

import hashlib
import http.client
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

TRANSIENT = ("slow_down", "silence", "reset", "reset_in_request", "reset_in_answer", "truncate", "lost_answer")
ANSWERS = {
    "slow_down": (503, "SlowDown", "Please reduce your request rate."),
    "access_denied": (403, "AccessDenied", "User: arn:aws:iam::1:user/x is not authorized to perform: s3:PutObject"),
    "clock_skew": (403, "RequestTimeTooSkewed", "The difference between the request time and the current time is."),
    "no_bucket": (404, "NoSuchBucket", "The specified bucket does not exist"),
    "wrong_region": (400, "AuthorizationHeaderMalformed", "the region 'us-east-1' is wrong; expecting 'eu-west-3'"),
    "server_error": (500, "InternalError", "We encountered an internal error. Please try again."),
}
_HOP_BY_HOP = frozenset({"connection", "expect", "keep-alive", "transfer-encoding"})
_RANDOM_NAMES = re.compile(r"(uploadId=|bucket-)[^&/?]+")  # other in every run: no part of the plan


@dataclass(frozen=True)
class FaultPlan:
    """Which requests are disturbed.

    Attributes:
        kinds: Names of faults, drawn with equal chance.
        rate: Share of tries that are disturbed.
        seed: Another seed disturbs others.
        max_in_a_row: So many tries of one request are disturbed at most; 0 for no limit.
        only: Methods that are disturbed.
    """

    kinds: tuple[str, ...]
    rate: float = 1.0
    seed: int = 0
    max_in_a_row: int = 2
    only: tuple[str, ...] = ("GET", "HEAD", "PUT", "POST", "DELETE")

    def fault(self, method: str, path: str, attempt: int) -> str:
        """The fault of the n-th try (from 0) of a request; empty for none."""
        if method not in self.only or (self.max_in_a_row and attempt >= self.max_in_a_row):
            return ""
        text = f"{self.seed} {method} {_RANDOM_NAMES.sub('', path)} {attempt}"
        chance, kind = struct.unpack(">QQ", hashlib.sha256(text.encode()).digest()[:16])
        return self.kinds[kind % len(self.kinds)] if chance < self.rate * 2**64 else ""


@dataclass
class FaultyS3:
    """The proxy. `with FaultyS3(upstream, plan) as proxy:` serves at `proxy.endpoint`.

    Attributes:
        plan: May be replaced while it runs.
        silence_s: How long the fault `silence` says nothing.
        counts: How often each fault has been done.
        num_requests: All of them, disturbed or not.
        answered: Requests whose answer was passed on whole, by method and path: what clients had to try again is not
            counted twice.
    """

    upstream: str
    plan: FaultPlan
    silence_s: float = 1.0
    counts: Counter[str] = field(default_factory=Counter)
    num_requests: int = 0
    answered: Counter[tuple[str, str]] = field(default_factory=Counter)
    _tries: Counter[tuple[str, str]] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> "FaultyS3":
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def count_answer(self, method: str, path: str) -> None:
        """Notes an answer that was passed on whole."""
        with self._lock:
            self.answered[method, path] += 1

    def draw(self, method: str, path: str) -> str:
        """The fault for a request that has just come."""
        with self._lock:
            attempt = self._tries[method, path]
            self._tries[method, path] += 1
            self.num_requests += 1
            fault = self.plan.fault(method, path, attempt)
            if fault:
                self.counts[fault] += 1
            else:
                self._tries[method, path] = 0  # the next one is a new request, not a repetition
        return fault


class _Handler(BaseHTTPRequestHandler):
    proxy: FaultyS3
    protocol_version = "HTTP/1.1"

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass

    def do_any(self) -> None:
        fault = self.proxy.draw(self.command, self.path)
        length = int(self.headers.get("Content-Length") or 0)
        if fault == "reset_in_request":
            self.rfile.read(length // 2)
            return self._reset()
        body = self.rfile.read(length)
        if fault in ANSWERS:
            return self._answer(*ANSWERS[fault])
        if fault == "silence":
            time.sleep(self.proxy.silence_s)
        if fault in {"silence", "reset"}:
            return self._reset()
        return self._forward(_flipped(body) if fault == "corrupt_request" else body, fault)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_any

    def _forward(self, body: bytes, fault: str) -> None:
        connection = http.client.HTTPConnection(urlsplit(self.proxy.upstream).netloc, timeout=60)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            self._give_back(answer.status, dict(answer.getheaders()), answer.read(), fault)
        finally:
            connection.close()

    def _give_back(self, status: int, headers: Mapping[str, str], body: bytes, fault: str) -> None:
        if fault == "lost_answer":
            return self._reset()
        if fault == "corrupt_answer":
            body = _flipped(body)
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in {*_HOP_BY_HOP, "content-length"}:
                self.send_header(name, value)
        length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(body))
        self.send_header("Content-Length", length)
        self.end_headers()
        broken = fault in {"truncate", "reset_in_answer"}
        self.wfile.write(body[: len(body) // 2] if broken else body)
        self.wfile.flush()
        if fault == "reset_in_answer":
            return self._reset()
        if broken:
            self.close_connection = True
        else:
            self.proxy.count_answer(self.command, self.path)
        return None

    def _answer(self, status: int, code: str, message: str) -> None:
        text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        body = b"" if self.command == "HEAD" else text
        self.send_response_only(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(body)

    def _reset(self) -> None:
        # Lingering zero seconds sends RST instead of FIN.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()


def _flipped(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 0x40]) + body[middle + 1 :] if body else body

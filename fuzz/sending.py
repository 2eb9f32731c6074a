"""Sending hostile requests, and what is wrong with an answer."""

from __future__ import annotations

import errno
import http.client
import json
import re
import socket
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import urlsplit

from fuzz.hostile import Hostile
from ledger.problems import MEANINGS

TIMEOUT_S = 60
# Answered by the HTTP server itself, below the application: a request that is none.
_NO_HTTP = b"Invalid HTTP request received."


class Answer(NamedTuple):
    status: int
    media_type: str
    body: bytes


class Outcome(NamedTuple):
    """seen: (kind, status and code) -> how often. faults: what went wrong, in words."""

    seen: Counter[tuple[str, str]]
    faults: list[str]


def send_all(url: str, keys: Mapping[str, str], requests: Iterable[Hostile]) -> Outcome:
    """Send requests one after the other over a connection that is kept while it can be."""
    outcome = Outcome(Counter(), [])
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT_S)
    for request in requests:
        try:
            answer = _send(connection, request, keys)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            # The server may close on a body that is too large before it has read it all.
            said = f"no answer: {type(error).__name__}"
            if request.kind != "too large":
                outcome.faults.append(f"{said} to {shown(request)}")
            outcome.seen[request.kind, said] += 1
            continue
        fault = fault_of(request, answer)
        if fault is not None:
            outcome.faults.append(
                f"{fault}: {answer.status} {answer.body[:300]!r} to {shown(request)}"
            )
        outcome.seen[request.kind, _name(answer)] += 1
    connection.close()
    return outcome


def shown(request: Hostile) -> str:
    return f"{request._replace(body=request.body[:600])} ({len(request.body)} bytes of body)"


def _send(
    connection: http.client.HTTPConnection, request: Hostile, keys: Mapping[str, str]
) -> Answer:
    connection.putrequest(request.method, request.target, skip_accept_encoding=True)
    if request.is_post:
        connection.putheader("Authorization", f"Bearer {keys.get(request.key, request.key)}")
        connection.putheader("Content-Length", str(len(request.body)))
        if request.media_type:
            connection.putheader("Content-Type", request.media_type)
    for name, value in request.headers:
        connection.putheader(name, value)
    connection.endheaders(request.body or None)
    response = connection.getresponse()
    answer = Answer(response.status, response.headers.get("Content-Type", ""), response.read())
    if response.will_close:
        connection.close()
    return answer


def fault_of(request: Hostile, answer: Answer) -> str | None:
    """What is wrong with the answer to a hostile request, or None."""
    if answer.status >= 500:
        return "an error of ours"
    if answer.status < 400:
        if request.is_post or answer.status not in (200, 304):
            return "a hostile request was taken"
        return None
    if answer.body == _NO_HTTP and not request.is_post:
        return None
    return fault_of_problem(answer)


def fault_of_problem(answer: Answer) -> str | None:
    """What is wrong with a problem document, or None."""
    if answer.media_type != "application/problem+json":
        return "no problem document"
    document = json.loads(answer.body)
    if document.get("code") not in MEANINGS or document.get("status") != answer.status:
        return "a problem without a code of ours"
    if not document.get("detail") or not document.get("request_id"):
        return "a problem that does not say what is wrong"
    if len(answer.body) > 64 * 1024:
        return "a problem document that is far too long"
    return None


def _name(answer: Answer) -> str:
    code = ""
    if answer.media_type == "application/problem+json":
        code = json.loads(answer.body)["code"]
    return f"{answer.status} {code}".rstrip()


# -- connections that do not behave


def _head(length: int, key: str, more: str = "") -> bytes:
    return (
        f"POST /v1/entries HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n{more}\r\n"
    ).encode()


def tricks(key: str) -> dict[str, list[bytes]]:
    """What is written to a connection, in parts with pauses between, before its end is closed."""
    chunked = _head(0, key).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    both = _head(5, key, "Transfer-Encoding: chunked\r\n")
    return {
        "nothing": [b""],
        "half a line": [b"POST /v1/ent"],
        "half a head": [_head(10, key)[:60]],
        "half a body": [_head(1000, key), b'{"statement":'],
        "a slow body": [_head(16, key), *(bytes([c]) for c in b'{"statement":{}}')],
        "a body of 4 MiB that never ends": [_head(4 << 20, key), b"[" * 100_000],
        "no HTTP": [bytes(range(256)) * 4],
        "TLS": [bytes.fromhex("16030100f4010000f00303") + bytes(200)],
        "HTTP/2": [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
        "HTTP/0.9": [b"GET /v1/ledger\r\n"],
        "a line without end": [b"GET /" + b"a" * 200_000],
        "a head without end": [b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 20_000],
        "two lengths": [_head(2, key, "Content-Length: 3\r\n"), b"{}x"],
        "a length that is none": [_head(-1, key), b"{}"],
        "length and chunks": [both, b"2\r\n{}\r\n0\r\n\r\n"],
        "a chunk that lies": [chunked, b"ffffffffffffffff\r\n{}\r\n0\r\n\r\n"],
        "a chunk size that is none": [chunked, b"x\r\n{}\r\n0\r\n\r\n"],
        "chunks cut short": [chunked, b"5\r\n{"],
        "many at once": [_head(2, key) + b"{}"] * 20,
        "expecting to go on": [_head(2, key, "Expect: 100-continue\r\n"), b"{}"],
        "spaces in the head": [b"GET  /v1/ledger HTTP/1.1\r\nHost : x\r\n\r\n"],
        "lines without returns": [b"GET /v1/ledger HTTP/1.1\nHost: x\n\n"],
    }


def misbehave(url: str, parts: Iterable[bytes], pause_s: float) -> bytes:
    """Write the parts, close our end, and read what comes until the other end closes too."""
    place = urlsplit(url)
    received = b""
    with socket.create_connection((place.hostname, place.port), timeout=TIMEOUT_S) as connection:
        connection.settimeout(TIMEOUT_S)
        try:
            for part in parts:
                connection.sendall(part)
                connection.settimeout(pause_s)
                with suppress(TimeoutError):
                    received += connection.recv(65536)
                connection.settimeout(TIMEOUT_S)
            connection.shutdown(socket.SHUT_WR)
            while data := connection.recv(65536):
                received += data
        except ConnectionError:
            pass  # it closed on us, which is its right
        except OSError as error:
            if error.errno != errno.ENOTCONN:  # closed before we could close our end
                raise
    return received


def fault_of_connection(received: bytes) -> str | None:
    """What is wrong with all that came back, or None: it may only refuse or say nothing."""
    for status in re.findall(rb"^HTTP/1\.[01] ([0-9]+)", received, re.MULTILINE):
        if status not in (b"100", b"200") and not status.startswith(b"4"):
            return f"answered {status.decode()}"
    if b'"leaf_hash"' in received:
        return "something was sealed"
    return None

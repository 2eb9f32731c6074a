"""What several tests share: vectors and data, statements to post, and a real server."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import urllib3
from flask import Flask
from werkzeug.test import TestResponse

from ledger.commands.running import gunicorn_command
from ledger.disclosure import digest, disclose_text
from ledger.post import read_submission
from ledger.sequencer import Pending
from ledger.service import Ledger

HERE = Path(__file__).parent
TIME = "2026-01-05T09:00:00+07:00"
PLATFORM = "kita"
ORIGIN = "ledger.example/tests"

Statement = dict[str, Any]


def unmeasured(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process whose modules are looked at: measuring one loads more."""
    return {k: v for k, v in environment.items() if not k.startswith("COVERAGE_")}


def vectors(name: str) -> Any:
    """The parsed vectors of `name`, a file of tests/vectors."""
    return json.loads((HERE / "vectors" / name).read_text("utf-8"))


def data(name: str) -> Any:
    """The parsed JSON of `name`, a file of tests/data."""
    return json.loads((HERE / "data" / name).read_text("utf-8"))


# -- statements: valid as they are; keyword arguments replace fields or add them


def party(party_id: str, **more: Any) -> Statement:
    statement = {"type": "party", "ref": f"party.{party_id}", "id": party_id}
    return statement | {"name": party_id, "kind": "ngo"} | more


def programme(programme_id: str, lead: str = PLATFORM, **more: Any) -> Statement:
    statement = {"type": "programme", "ref": f"programme.{programme_id}", "id": programme_id}
    return statement | {"title": programme_id, "lead": lead} | more


def fund(fund_id: str, **more: Any) -> Statement:
    """An open fund in rupiah without a cap, which the platform itself owns."""
    statement: Statement = {
        "type": "fund",
        "ref": f"fund.{fund_id}",
        "id": fund_id,
        "title": fund_id,
    }
    statement |= {"owner": PLATFORM, "platforms": [PLATFORM], "currency": "IDR"}
    return statement | {"policy": {}, "status": "open"} | more


def _money(kind: str, ref: str, more: Statement) -> Statement:
    statement = {"type": kind, "ref": ref, "amount": "1000", "currency": "IDR"}
    return statement | {"occurred_at": TIME} | more


def donation(fund_id: str = "air", ref: str = "donation", **more: Any) -> Statement:
    return _money("donation", ref, {"fund": fund_id} | more)


def disbursement(fund_id: str = "air", ref: str = "disbursement", **more: Any) -> Statement:
    outflow = {"fund": fund_id, "category": "programme", "recipient": {"party": PLATFORM}}
    return _money("disbursement", ref, outflow | {"purpose": "nutrition"} | more)


def transfer(giver: str, taker: str, ref: str = "transfer", **more: Any) -> Statement:
    ends = {"from_fund": giver, "to_fund": taker, "basis": "terms"}
    return _money("transfer", ref, ends | more)


def refund(target: int, ref: str = "refund", **more: Any) -> Statement:
    statement = {"type": "refund", "ref": ref, "target": target, "amount": "1000"}
    return statement | {"reason": "donor_request"} | more


def returned(target: int, ref: str = "return", **more: Any) -> Statement:
    statement = {"type": "return", "ref": ref, "target": target, "amount": "1000"}
    return statement | {"reason": "unused"} | more


def goods(kind: str, fund_id: str, ref: str, quantity: str, **more: Any) -> Statement:
    """goods_in or goods_out (`kind`), of rice in kilograms."""
    statement = {"type": kind, "ref": ref, "fund": fund_id, "item": "rice", "unit": "KGM"}
    statement |= {"quantity": quantity, "occurred_at": TIME}
    return statement | ({"recipient": {"party": PLATFORM}} if kind == "goods_out" else {}) | more


def report(ref: str = "report", **more: Any) -> Statement:
    return {"type": "report", "ref": ref, "title": "What became of it", "by": PLATFORM} | more


def disclosed_report(text: str, ref: str = "report", **more: Any) -> tuple[Statement, str]:
    """A report, and the disclosure of `text` that may be posted beside it."""
    disclosure = disclose_text(text, hashlib.sha256(ref.encode()).digest()[:16])
    return report(ref, text_digest=digest(disclosure), **more), disclosure


def post_report(ledger: Ledger, text: str, ref: str = "report", **more: Any) -> int:
    """Seal a report with its text beside it, past HTTP; its index."""
    statement, disclosure = disclosed_report(text, ref, **more)
    body = json.dumps({"statement": statement, "disclosures": [disclosure]}).encode()
    submission = read_submission(body, ledger.currencies, ledger.now())
    return ledger.sequencer.append(Pending(PLATFORM, submission)).entries[0].index


def evidence(target: int, leaf: bytes, ref: str = "evidence", **more: Any) -> Statement:
    file = {"sha256": "ab" * 32, "media_type": "application/pdf", "bytes": 5}
    statement = {"type": "evidence", "ref": ref, "target": target, "target_leaf": leaf.hex()}
    return statement | {"evidence": [file]} | more


def body_of(*statements: Statement) -> bytes:
    """The request body that posts one statement, or several as a batch."""
    posts = [{"statement": statement} for statement in statements]
    return json.dumps(posts[0] if len(posts) == 1 else {"entries": posts}).encode()


# -- the application, in this process


class Api:
    """A client of `app`, with an API key for each platform that is asked for."""

    def __init__(self, app: Flask) -> None:
        self.ledger: Ledger = app.extensions["amanah"]
        self.http = app.test_client()
        self._keys: dict[str, str] = {}

    def key(self, platform: str) -> str:
        """An API key of `platform`, which is registered as a party when it is new."""
        if platform not in self._keys:
            self._keys[platform] = self.ledger.create_key(platform).key
        return self._keys[platform]

    def send(self, body: bytes, platform: str = PLATFORM) -> TestResponse:
        """Post a body as it is; whatever the answer."""
        headers = {"Authorization": f"Bearer {self.key(platform)}"}
        return self.http.post(
            "/v1/entries", data=body, content_type="application/json", headers=headers
        )

    def post(self, *statements: Statement, platform: str = PLATFORM) -> Any:
        """Post one statement, or a batch of several, which must be taken; the answer's JSON."""
        response = self.send(body_of(*statements), platform)
        assert response.status_code in (200, 201), response.get_data(as_text=True)
        return response.get_json()

    def get(self, path: str, status: int = 200, **headers: str) -> TestResponse:
        """Get `path`, which must answer `status`. A header's name is spelled with underscores."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        response = self.http.get(path, headers=sent)
        assert response.status_code == status, response.get_data(as_text=True)
        return response


def problem(response: TestResponse, status: int, code: str) -> Any:
    """The problem document that `response` must be (RFC 9457)."""
    assert response.status_code == status, response.get_data(as_text=True)
    assert response.content_type == "application/problem+json"
    document = response.get_json()
    assert {"type", "title", "status", "code", "detail", "request_id"} <= document.keys()
    assert document["type"] == f"/problems/{code}"
    assert (document["status"], document["code"]) == (status, code)
    assert document["detail"]
    assert document["request_id"] == response.headers["X-Request-Id"]
    assert response.headers["Cache-Control"] == "no-store"
    return document


def pointers(document: Any) -> list[str]:
    assert all(error["detail"] for error in document["errors"])
    return [error["pointer"] for error in document["errors"]]


# -- a real server


class Server:
    """A running gunicorn. process: its master, in a process group of its own."""

    def __init__(self, url: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.url, self.process, self.log = url, process, log
        self.pool = urllib3.PoolManager(retries=False, timeout=60, maxsize=32)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """One request, with `key` as the API key; a body is declared to be JSON."""
        sent = {"Content-Type": "application/json"} if body is not None else {}
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        return self.pool.request(method, self.url + path, body=body, headers=sent | (headers or {}))

    def said(self, event: str) -> list[dict[str, Any]]:
        """The lines of its log that tell of `event`, every line being JSON."""
        lines = [json.loads(line) for line in self.log.read_text("utf-8").splitlines()]
        return [line for line in lines if line["event"] == event]


@contextmanager
def running_server(
    database: Path, workers: int = 2, wait_for: str = "/readyz", more: dict[str, str] | None = None
) -> Iterator[Server]:
    """Serve the ledger at `database` by gunicorn on a free port, once `wait_for` answers 200.

    more: variables of its environment.
    """
    log = database.with_name(f"{database.name}.server-log")
    settings = {k: v for k, v in os.environ.items() if not k.startswith("AMANAH_")}
    settings |= {"AMANAH_DATABASE": str(database), "AMANAH_METRICS_BIND": "127.0.0.1:0"} | (
        more or {}
    )
    # A socket of ours that gunicorn takes over: its port cannot be snatched in between, and
    # early requests wait in its queue instead of being turned away.
    with (
        closing(socket.create_server(("127.0.0.1", 0), backlog=128)) as listener,
        log.open("wb") as output,
    ):
        # As gunicorn sets it on sockets it makes itself; else each answer takes 40 ms more.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        port = listener.getsockname()[1]
        process = subprocess.Popen(
            gunicorn_command(f"fd://{listener.fileno()}", workers),
            cwd=HERE.parent,
            env=settings,
            stdout=output,
            stderr=output,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
    server = Server(f"http://127.0.0.1:{port}", process, log)
    try:
        _wait_for(server, wait_for)
        yield server
    finally:
        server.pool.clear()
        _stop(process)


def _wait_for(server: Server, path: str) -> None:
    try:
        answer = server.request("GET", path)
        assert answer.status == 200, answer.data
    except (AssertionError, urllib3.exceptions.HTTPError) as error:
        raise AssertionError(f"{error}\n{server.log.read_text()}") from error


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=20)
    with suppress(ProcessLookupError):  # workers of a master that was killed, if any are left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=20)

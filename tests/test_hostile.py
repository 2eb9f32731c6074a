"""Hostile input against a real server: schemathesis by the OpenAPI document, and a little of fuzz/.

The same requests every time. Many more, and others each time: `make fuzz`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.hostile import Hostile
from fuzz.running import demonstration, run
from fuzz.sending import Answer, fault_of, fault_of_connection, tricks
from ledger.audit import Known, audit
from ledger.demo import PLATFORM
from ledger.tlog.policy import Policy
from tests.support import running_server

ROOT = Path(__file__).parents[1]
EXAMPLES = 25  # of schemathesis, for each operation and phase


def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    ledger = demonstration(tmp_path / "amanah.db")
    key = ledger.create_key(PLATFORM).key
    command = [sys.executable, "-m", "schemathesis.cli", "--no-color"]
    command += ["--config-file", str(ROOT / "fuzz" / "schemathesis.toml")]
    with running_server(ledger.store.paths.database) as server:
        command += ["run", f"{server.url}/openapi.json", "--header", f"Authorization: Bearer {key}"]
        command += ["--phases", "examples,coverage,fuzzing", "--seed", "1"]
        command += ["--max-examples", str(EXAMPLES)]
        found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    policy = Policy.for_key(ledger.vkeys[0])
    assert audit(ledger.store, policy, [Known(*head) for head in ledger.store.heads()]).is_sound
    ledger.close()


def test_hostile_requests_are_refused_and_leave_no_trace(tmp_path: Path) -> None:
    result = run(tmp_path / "amanah.db", seed=1, count=3_000)
    assert result.faults == []
    codes = {answer.partition(" ")[2] for kind, answer in result.seen if kind != "connection"}
    assert codes >= {"malformed", "invalid", "invalid_amount", "not_supported", "ref_conflict",
                     "unauthorized", "forbidden", "not_found", "invalid_query", "too_large",
                     "method_not_allowed", "unsupported_media_type"}  # fmt: skip
    assert {name for kind, name in result.seen if kind == "connection"} == tricks("").keys()


PROBLEM = {"code": "stale", "status": 409, "detail": "x", "request_id": "x"}
POST, GET = (Hostile("", method, "/v1/entries") for method in ("POST", "GET"))


def answer(status: int, /, **changes: object) -> Answer:
    return Answer(status, "application/problem+json", json.dumps(PROBLEM | changes).encode())


@pytest.mark.parametrize(
    ("request_", "answer_"),
    [
        (POST, Answer(201, "application/json", b"{}")),
        (POST, Answer(200, "application/json", b"{}")),
        (GET, Answer(308, "text/html", b"")),
        (GET, answer(500, status=500, code="internal")),
        (POST, answer(503, status=503, code="unavailable")),
        (POST, Answer(400, "text/plain", b"Invalid HTTP request received.")),
        (GET, Answer(404, "text/html", b"<h1>Not Found</h1>")),
        (POST, answer(409, code="new")),
        (POST, answer(409, status=422)),
        (POST, answer(409, detail="")),
    ],
)
def test_fuzzing_sees_a_wrong_answer(request_: Hostile, answer_: Answer) -> None:
    assert fault_of(POST, answer(409)) is None
    assert fault_of(GET, Answer(200, "application/json", b"{}")) is None
    assert fault_of(request_, answer_) is not None


def test_fuzzing_sees_that_something_was_sealed() -> None:
    assert fault_of_connection(b"HTTP/1.1 400 Bad Request\r\n\r\nno") is None
    for received in (b"HTTP/1.1 500 Internal\r\n\r\n", b"HTTP/1.1 201 Created\r\n\r\n"):
        assert fault_of_connection(received) is not None
    assert fault_of_connection(b'HTTP/1.1 200 OK\r\n\r\n{"leaf_hash":') is not None

"""Other people's verifiers judge a served ledger, its receipts, and logs that lie.

One is built on the code by which Go checks its own checksum database, one is aics-tlog. Both know
the log by its key alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ledger.tlog.note import SigningKey
from tests.command_line import Outcome
from tests.foreign.conftest import Judge, Live
from tests.simulator import Log
from tests.support import ORIGIN

EXAMPLE = Path(__file__).parents[2] / "docs" / "example"
STRANGER = str(SigningKey.of(ORIGIN, bytes(32)).verifier)


def assert_sound(outcome: Outcome, what: str) -> None:
    assert (outcome.code, outcome.err) == (0, ""), outcome
    assert outcome.out.startswith(f"SOUND {what}"), outcome


def assert_unsound(outcome: Outcome) -> None:
    """Refused in the judge's own words: it found something, and did not fall over it."""
    assert outcome.code == 1, outcome
    assert outcome.out == ""
    assert len(outcome.err.splitlines()) == 1, outcome
    assert outcome.err.startswith(("check: ", "judge_aics: ")), outcome


# -- a ledger as it is served


def test_a_served_ledger_is_sound(judge: Judge, live: Live) -> None:
    """And an extension of every checkpoint that was handed out before."""
    assert_sound(judge("log", live.server.url, live.vkey, *live.older), f"{live.size} ")


def test_the_proofs_that_the_ledger_makes_are_sound(judge: Judge, live: Live) -> None:
    """Of consistency with every older checkpoint, and of inclusion for every entry."""
    assert_sound(judge("proofs", live.server.url, live.vkey, *live.older), f"{live.size} ")


def test_a_ledger_is_unsound_under_another_key_of_its_name(judge: Judge, live: Live) -> None:
    assert_unsound(judge("log", live.server.url, STRANGER))


# -- receipts


def receipt_of(live: Live, index: int) -> bytes:
    return live.server.request("GET", f"/v1/entries/{index}/receipt").data


@pytest.mark.parametrize("index", [0, 255, 256, 767, 799])
def test_a_receipt_is_sound(judge: Judge, live: Live, tmp_path: Path, index: int) -> None:
    receipt = tmp_path / "gift.tlog-proof"
    receipt.write_bytes(receipt_of(live, index))
    assert_sound(judge("receipt", receipt, live.vkey), f"entry {index} of {live.size}")
    assert_unsound(judge("receipt", receipt, STRANGER))


def test_a_receipt_with_one_character_changed_is_unsound(
    judge: Judge, live: Live, tmp_path: Path
) -> None:
    """In the middle of any of its lines."""
    receipt = tmp_path / "gift.tlog-proof"
    lines = receipt_of(live, 700).split(b"\n")
    for number, line in enumerate(lines):
        place = len(line) // 2
        changed = line[:place] + (b"B" if line[place : place + 1] == b"A" else b"A")
        changed += line[place + 1 :]
        receipt.write_bytes(b"\n".join([*lines[:number], changed, *lines[number + 1 :]]))
        assert_unsound(judge("receipt", receipt, live.vkey))


def test_the_receipt_in_the_docs_is_sound(judge: Judge) -> None:
    words = (EXAMPLE / "policy").read_text("utf-8").split()
    vkey = words[words.index("log") + 1]
    assert_sound(judge("receipt", EXAMPLE / "gift.tlog-proof", vkey), "entry ")


# -- logs that lie


@contextmanager
def served(files: Mapping[str, bytes]) -> Iterator[str]:
    """The address of a server of these files, by their path, and of nothing else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = files.get(self.path[1:])
            self.send_response(404 if content is None else 200)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def judged(judge: Judge, log: Log, vkey: str, *older: Path) -> Outcome:
    with served(log.files()) as url:
        return judge("log", url, vkey, *older)


@pytest.fixture
def vkey(honest: Log) -> str:
    return str(honest.signer.verifier)


@pytest.fixture
def seen(honest: Log, tmp_path: Path) -> Path:
    """The checkpoint that somebody keeps."""
    path = tmp_path / "seen"
    path.write_bytes(honest.checkpoint())
    return path


def test_the_honest_log_is_sound(judge: Judge, honest: Log, vkey: str, seen: Path) -> None:
    assert_sound(judged(judge, honest, vkey, seen), f"{honest.size} ")


def later(log: Log) -> Log:
    """Somebody moves what was said last to another day, without the key of the log."""
    return log.edit_statement(log.size - 1, occurred_at="2025-12-31T09:00:00+07:00")


BREAK_INS: dict[str, Callable[[Log], Log]] = {
    "an entry edited": later,
    "the first entry edited": lambda log: log.edit(0, recorded_at="2026-01-01T00:00:00.000Z"),
    "an entry gone, and another at the end": lambda log: log.drop(300).append("kita", {}),
    "two entries swapped": lambda log: log.swap(300, 301),
    "an entry twice": lambda log: log.insert(300, "kita", log.document(299)["statement"]),
    "the newest entries gone": lambda log: log.cut(599),
    "all gone": lambda log: log.cut(0),
    "edited and hashed again, under another key": lambda log: later(log).seal(
        SigningKey.of(ORIGIN, bytes(32))
    ),
    "edited and hashed again, under the old checkpoint": lambda log: (
        later(log.copy()).seal().serve("checkpoint", log.checkpoint())
    ),
    # Under its key, so that only the chain within the entries tells.
    "an entry that follows none, sealed": lambda log: log.edit(300, prev="0" * 64).publish(),
    "an entry that says another index, sealed": lambda log: log.edit(599, index=598).publish(),
}


@pytest.mark.parametrize("lie", BREAK_INS)
def test_a_log_that_was_changed_is_unsound(judge: Judge, honest: Log, vkey: str, lie: str) -> None:
    assert_unsound(judged(judge, BREAK_INS[lie](honest.copy()), vkey))


def test_any_file_with_one_bit_changed_is_unsound(judge: Judge, honest: Log, vkey: str) -> None:
    """The checkpoint, every tile of every level, every bundle."""
    for path, content in honest.files().items():
        ends = (4, len(content) * 8 - 12) if path == "checkpoint" else ()
        for bit in (len(content) * 4, *ends):
            outcome = judged(judge, honest.copy().flip(path, bit), vkey)
            assert outcome.code == 1, (path, bit, outcome)
            assert outcome.out == ""


@pytest.mark.parametrize("size", [1, 256, 599])
def test_a_log_that_went_back_is_unsound_to_who_remembers(
    judge: Judge, honest: Log, vkey: str, seen: Path, size: int
) -> None:
    log = honest.copy().roll_back(size)
    assert_sound(judged(judge, log, vkey), f"{size} ")  # nothing in it tells
    assert_unsound(judged(judge, log, vkey, seen))


@pytest.mark.parametrize("more", [0, 1])
def test_another_history_is_unsound_to_who_remembers(
    judge: Judge, honest: Log, vkey: str, seen: Path, more: int
) -> None:
    """Whether it is as long as the one that was seen, or longer."""
    log = later(honest.copy())
    for _ in range(more):
        log.append("kita", {"type": "donation", "ref": "more"})
    assert_sound(judged(judge, log.seal(), vkey), f"{honest.size + more} ")
    assert_unsound(judged(judge, log, vkey, seen))

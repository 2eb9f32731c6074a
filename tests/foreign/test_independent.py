"""Judged from outside: a real server, read over HTTP by a verifier that shares no code with it."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from ledger.batches import BATCH_MAX
from ledger.demo import PARTNER, statements
from ledger.demo import PLATFORM as DEMO
from ledger.errors import Refusal
from ledger.service import Ledger
from tests.command_line import Amanah
from tests.independent.generator import CURRENCIES, PLATFORMS, expected, generate
from tests.independent.verifier import http_reader, verify
from tests.simulator import Log
from tests.support import ORIGIN, Server, Statement, running_server

SEED, MANY, SOME = 20_261_124, 20_000, 1_500


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A fresh ledger with the platforms of neither the demonstration nor the generator."""
    ledger = Ledger.create(tmp_path / "amanah.db", ORIGIN, "Tests")
    yield ledger
    ledger.close()


def judge(ledger: Ledger, url: str) -> int:
    """Both verdicts on the ledger served at `url`, which must be the same; its size."""
    vkey = str(ledger.vkeys[0])
    report = verify(http_reader(url), vkey)
    assert report.sound, str(report)
    amanah = Amanah(ledger.store.paths.database.parent)
    verdict = amanah("verify", url, "--vkey", vkey, "--json")
    assert verdict.code == 0, verdict
    assert (verdict.json["origin"], verdict.json["size"]) == (report.origin, report.size)
    assert verdict.json["root"] == report.root
    assert report.size == ledger.store.size()
    return report.size


def runs(
    posts: Iterable[tuple[str, Statement]], refused: Container[int] = ()
) -> Iterator[tuple[int, str, list[Statement]]]:
    """Posts as a client would batch them, each run with the position of its first.

    A run is by one platform; what is to be refused is posted by itself.
    """

    def run(numbered: tuple[int, tuple[str, Statement]]) -> tuple[str, int, int]:
        number, (platform, _) = numbered
        alone = number in refused
        return platform, number if alone else -1, number // BATCH_MAX

    for (platform, _, _), group in groupby(enumerate(posts), run):
        together = list(group)
        yield together[0][0], platform, [statement for _, (_, statement) in together]


# -- the worked example


def test_the_demonstration_is_sound_to_a_stranger(ledger: Ledger) -> None:
    for platform in (DEMO, PARTNER):
        ledger.register_platform(platform)
    posts = list(statements())
    for _, platform, batch in runs(posts):
        ledger.post(platform, batch)
    with running_server(ledger.store.paths.database) as server:
        assert judge(ledger, server.url) == 3 + len(posts)


# -- generated statements


def send(server: Server, keys: dict[str, str], platform: str, batch: list[Statement]) -> Any:
    body = json.dumps({"entries": [{"statement": statement} for statement in batch]})
    return server.request("POST", "/v1/entries", body, keys[platform])


def test_a_server_admits_and_refuses_as_a_stranger_expects(ledger: Ledger) -> None:
    """Statement by statement over HTTP: taken, or refused with the very code."""
    refused = expected(SEED, SOME)
    # A platform registers itself in its first statement: a key must not do it before.
    keys = {platform: key_without_party(ledger, platform) for platform in PLATFORMS}
    with running_server(ledger.store.paths.database) as server:
        size = 1
        for first, platform, batch in runs(generate(SEED, SOME), refused):
            answer = send(server, keys, platform, batch)
            document = answer.json()
            if first in refused:
                assert document["code"] == refused[first], (first, batch, document)
                assert answer.status in (403, 409, 422)
            else:
                assert answer.status == 201, (first, batch, document)
                assert [e["index"] for e in document["entries"]] == list(
                    range(size, size + len(batch))
                )
                size += len(batch)
        assert judge(ledger, server.url) == size == 1 + SOME - len(refused)


def key_without_party(ledger: Ledger, platform: str) -> str:
    """An API key of a platform that is not a party yet."""
    key = f"amanah_{platform}"
    with ledger.store.writing() as tx:
        tx.add_key(platform, platform, ("write",), ledger._hash(key), "2026-01-05T00:00:00Z")
        tx.commit()
    return key


@pytest.mark.slow
def test_twenty_thousand_statements_are_sound_to_a_stranger(ledger: Ledger) -> None:
    """Posted on this machine through the same door, then judged over HTTP."""
    refused = expected(SEED, MANY)
    for first, platform, batch in runs(generate(SEED, MANY), refused):
        if first in refused:
            with pytest.raises(Refusal) as caught:
                ledger.post(platform, batch)
            assert caught.value.code == refused[first], (first, batch)
        else:
            assert not ledger.post(platform, batch).all_replayed
    with running_server(ledger.store.paths.database) as server:
        assert judge(ledger, server.url) == 1 + MANY - len(refused)


def test_a_lie_is_found_by_both_at_the_same_entry(ledger: Ledger) -> None:
    """Sealed by its operator with all that belongs to it, in one amount of many."""
    refused = expected(SEED, SOME)
    for first, platform, batch in runs(generate(SEED, SOME), refused):
        if first not in refused:
            ledger.post(platform, batch)
    log = Log.of(ledger)
    index = next(
        index
        for index in range(800, log.size)
        if log.document(index)["statement"]["type"] == "disbursement"
    )
    total = log.document(index)["totals"][0]
    zero = "0" if "." not in total["balance"] else "0." + "0" * CURRENCIES[total["currency"]]
    log.edit(index, totals=[total | {"balance": zero}]).seal()
    log.write_to(ledger.store.paths.database)
    vkey = str(ledger.vkeys[0])
    with running_server(ledger.store.paths.database, wait_for="/healthz") as server:
        report = verify(http_reader(server.url), vkey)
        amanah = Amanah(ledger.store.paths.database.parent)
        verdict = amanah("verify", server.url, "--vkey", vkey, "--json")
    assert report.fault is not None
    assert (report.fault.index, report.fault.what) == (index, "totals")
    assert verdict.code == 1
    assert verdict.json["index"] == index
    assert verdict.json["compared"] == "totals, added up again from the first entry"

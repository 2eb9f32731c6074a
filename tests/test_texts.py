"""Texts beside the log: kept and served with their entry, and erased so that nothing is left."""

from __future__ import annotations

import json
import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ledger.audit import audit
from ledger.disclosure import Disclosure, digest, disclose_text, encode, encode_base64url
from ledger.errors import Unavailable
from ledger.service import Ledger
from ledger.store import texts
from ledger.tlog.policy import Policy
from tests.command_line import Amanah
from tests.damage import run_sql
from tests.support import (
    PLATFORM,
    Api,
    Server,
    Statement,
    disclosed_report,
    donation,
    fund,
    pointers,
    post_report,
    problem,
    report,
)

WORDS = "Twelve wells were dug in Kupang, and three more are being dug."
SALT = bytes(range(16))


def post_of(statement: Statement, *disclosures: Any) -> bytes:
    return json.dumps({"statement": statement, "disclosures": disclosures}).encode()


@pytest.fixture
def funded(client: Api) -> Api:
    """With a fund at index 2."""
    client.post(fund("air"))
    return client


# -- at the door


def test_a_text_is_kept_and_served_with_its_entry_alone(funded: Api) -> None:
    statement, disclosure = disclosed_report(WORDS, fund="air")
    response = funded.send(post_of(statement, disclosure))
    assert response.status_code == 201, response.data
    one = funded.get("/v1/entries/3").get_json()
    assert (one["entry"]["statement"], one["disclosures"]) == (statement, [disclosure])
    assert "erased" not in one
    for path in ("/v1/entries", "/v1/entries?type=report", "/v1/entries/3/receipt"):
        assert disclosure not in funded.get(path).get_data(as_text=True)
    assert funded.get("/v1/entries/2").get_json()["disclosures"] == []


def test_in_a_batch_each_has_its_own(funded: Api) -> None:
    pairs = [disclosed_report(f"{WORDS} {n}", f"report-{n}", fund="air") for n in "abc"]
    posts = [{"statement": s, "disclosures": [d]} for s, d in pairs]
    del posts[1]["disclosures"]
    body = json.dumps({"entries": posts}).encode()
    assert funded.send(body).status_code == 201
    served = [funded.get(f"/v1/entries/{i}").get_json()["disclosures"] for i in (3, 4, 5)]
    assert served == [[pairs[0][1]], [], [pairs[2][1]]]


def test_a_replay_changes_nothing_beside_the_log_either(funded: Api) -> None:
    statement, disclosure = disclosed_report(WORDS, fund="air")
    funded.post(statement)
    assert funded.send(post_of(statement, disclosure)).status_code == 200
    assert funded.get("/v1/entries/3").get_json()["disclosures"] == []
    problem(funded.send(post_of(statement, disclosure[:-1])), 422, "invalid")


def test_of_a_refused_batch_no_text_is_kept(funded: Api) -> None:
    statement, disclosure = disclosed_report(WORDS, fund="air")
    posts = [{"statement": statement, "disclosures": [disclosure]}, {"statement": donation("x")}]
    problem(funded.send(json.dumps({"entries": posts}).encode()), 422, "unknown_reference")
    with closing(sqlite3.connect(funded.ledger.store.paths.database)) as connection:
        assert connection.execute("SELECT count(*) FROM disclosures").fetchone() == (0,)


def spelled(*elements: Any) -> str:
    return encode(Disclosure(*elements))


STATEMENT, RIGHT = disclosed_report(WORDS, fund="air")
SALTED = encode_base64url(SALT)
REFUSED: dict[str, tuple[Statement, Any, str]] = {
    "none": (STATEMENT, [], "/disclosures"),
    "no array": (STATEMENT, RIGHT, "/disclosures"),
    "no text": (STATEMENT, [7], "/disclosures/0"),
    "no base64url": (STATEMENT, ["words"], "/disclosures/0"),
    "another text": (STATEMENT, [disclose_text("Words", SALT)], "/disclosures/0"),
    "twice": (STATEMENT, [RIGHT, RIGHT], "/disclosures/1"),
    "one more": (STATEMENT, [RIGHT, disclose_text("Words", SALT)], "/disclosures/1"),
    "not asked for": (report(fund="air"), [RIGHT], "/disclosures/0"),
    "beside a gift": (donation(), [RIGHT], "/disclosures/0"),
}
TEXTS = {
    "empty": "",
    "a space at the end": "words ",
    "a line break": "words\nwords",
    "a bidi control": "a\u202eb",
    "20,001 characters": "x" * 20_001,
}
for what, text in TEXTS.items():
    made = spelled(SALTED, "text", text)
    REFUSED[what] = (report(fund="air", text_digest=digest(made)), [made], "/disclosures/0")
short = spelled(encode_base64url(SALT[:8]), "text", WORDS)
REFUSED["a short salt"] = (report(fund="air", text_digest=digest(short)), [short], "/disclosures/0")
email = spelled(SALTED, "email", "words")
REFUSED["no text inside"] = (
    report(fund="air", text_digest=digest(email)),
    [email],
    "/disclosures/0",
)


@pytest.mark.parametrize(("statement", "disclosures", "where"), REFUSED.values(), ids=REFUSED)
def test_disclosures_that_are_refused(
    funded: Api, statement: Statement, disclosures: Any, where: str
) -> None:
    post = {"statement": statement, "disclosures": disclosures}
    answer = problem(funded.send(json.dumps(post).encode()), 422, "invalid")
    assert pointers(answer) == [where]
    answer = problem(funded.send(json.dumps({"entries": [post]}).encode()), 422, "invalid")
    assert pointers(answer) == [f"/entries/0{where}"]


def test_the_longest_text_is_taken(funded: Api) -> None:
    statement, disclosure = disclosed_report("\U0001f33e" * 20_000, fund="air")
    assert funded.send(post_of(statement, disclosure)).status_code == 201


def test_a_fault_of_the_statement_comes_first(funded: Api) -> None:
    answer = problem(funded.send(post_of(STATEMENT | {"title": ""}, 7)), 422, "invalid")
    assert pointers(answer) == ["/statement/title"]


@pytest.mark.parametrize("suspicious", ["budi@example.org", "0812 3456 7890", "4111111111111111"])
def test_personal_data_in_a_text(funded: Api, suspicious: str) -> None:
    statement, disclosure = disclosed_report(f"Call {suspicious} now", fund="air")
    response = funded.send(post_of(statement, disclosure))
    assert pointers(problem(response, 422, "personal_data_suspected")) == ["/disclosures/0"]


# -- erased


def is_sound(ledger: Ledger) -> bool:
    return audit(ledger.store, Policy.for_key(ledger.vkeys[0])).is_sound


def pieces_left(directory: Path, *secrets: str) -> list[tuple[str, bytes]]:
    """(file, piece) of every run of 24 bytes of the secrets, in any file of a ledger.

    SQLite cuts a long value into pages, so no file need hold the whole.
    """
    found = []
    for path in sorted(directory.iterdir()):
        data = path.read_bytes()
        for secret in secrets:
            raw = secret.encode()
            runs = (raw[i : i + 24] for i in range(0, len(raw) - 23, 24))
            found += [(path.name, run) for run in runs if run in data]
    return found


def words(rng: random.Random, length: int) -> str:
    return "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=length))


def test_nothing_of_what_was_erased_is_left_in_any_file(ledger: Ledger) -> None:
    """Texts that lie in one page, beside others, and in many; erased in any order."""
    ledger.register_platform(PLATFORM)
    ledger.post(PLATFORM, [fund("air")])
    rng = random.Random(5)
    directory = ledger.store.paths.database.parent
    kept: dict[int, str] = {}
    for n in range(60):
        text = words(rng, rng.choice((30, 300, 900, 3_000, 9_000, 20_000)))
        index = post_report(ledger, text, f"r{n}", fund="air")
        kept[index] = disclosed_report(text, f"r{n}")[1]
    gone: list[str] = []
    indexes = list(kept)
    rng.shuffle(indexes)
    for index in indexes[:25]:
        assert pieces_left(directory, kept[index]), "it is there before"
        ledger.erase(index, "the family asked")
        gone.append(kept.pop(index))
        assert pieces_left(directory, *gone) == []
        for other in list(kept)[:3]:
            assert ledger.store.beside(other).disclosure == kept[other]
    post_report(ledger, words(rng, 500), "one-more", fund="air")
    assert pieces_left(directory, *gone) == []
    assert is_sound(ledger)


def test_erasing_while_it_is_served(ledger: Ledger, server: Server, tmp_path: Path) -> None:
    key = ledger.create_key(PLATFORM).key
    ledger.post(PLATFORM, [fund("air")])
    statement, disclosure = disclosed_report(WORDS * 200, fund="air")
    assert server.request("POST", "/v1/entries", post_of(statement, disclosure), key).status == 201
    before = server.request("GET", "/v1/entries/3")
    outcome = Amanah(tmp_path).really("erase", 3, "--reason", "the village asked", "--json")
    assert outcome.code == 0, outcome
    assert pieces_left(tmp_path, disclosure) == []
    after = server.request(
        "GET", "/v1/entries/3", headers={"If-None-Match": before.headers["ETag"]}
    )
    assert after.status == 200
    document = after.json()
    assert outcome.json == {"index": 3, **document["erased"]}
    assert document["erased"]["reason"] == "the village asked"
    assert document["disclosures"] == []
    assert document["entry"] == before.json()["entry"]
    again = server.request("POST", "/v1/entries", post_of(statement, disclosure), key)
    assert (again.status, again.json()["entries"][0]["replayed"]) == (200, True)
    assert server.request("GET", "/v1/entries/3").json() == document
    assert is_sound(ledger)


def test_somebody_who_reads_in_the_database_is_in_the_way(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.register_platform(PLATFORM)
    ledger.post(PLATFORM, [fund("air")])
    index = post_report(ledger, WORDS, fund="air")
    monkeypatch.setattr("ledger.store.sqlite.BUSY_TIMEOUT_S", 0.0)
    ledger.close()
    ledger = Ledger.open(ledger.store.paths.database)
    with closing(sqlite3.connect(ledger.store.paths.database)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM entries").fetchone()
        with pytest.raises(Unavailable, match="run the same command again"):
            ledger.erase(index, "as was asked")
    erased_at = ledger.store.beside(index).erasure
    assert ledger.erase(index, "another reason") == erased_at
    assert pieces_left(ledger.store.paths.database.parent, disclosed_report(WORDS)[1]) == []
    ledger.close()


def test_what_can_go_wrong_when_erasing(told: tuple[Amanah, int, int]) -> None:
    amanah = told[0]
    for index, reason, code, said in (
        (0, "x", 1, "no text is kept beside entry 0"),
        (99, "x", 1, "there is no entry 99"),
        (0, "", 1, "expected 1 to 140 characters"),
        (0, "budi@example.org asked", 1, "looks like an e-mail address"),
    ):
        outcome = amanah("erase", index, "--reason", reason)
        assert outcome.code == code, outcome
        assert said in outcome.err
    assert amanah("erase", "0").code == 2
    assert amanah("erase", "-1", "--reason", "x").code == 2


# -- altered, rebuilt, looked at


@pytest.fixture
def told(tmp_path: Path) -> tuple[Amanah, int, int]:
    """A ledger, the index of a text that is kept, and of one that was erased."""
    ledger = Ledger.create(tmp_path / "amanah.db", "ledger.example/texts", "Tests")
    ledger.register_platform(PLATFORM)
    ledger.post(PLATFORM, [fund("air")])
    kept = post_report(ledger, WORDS, fund="air")
    erased = post_report(ledger, f"{WORDS} Erased.", "report-2", fund="air")
    ledger.erase(erased, "as was asked")
    ledger.close()
    return Amanah(tmp_path), kept, erased


def wrong(amanah: Amanah) -> dict[str, str]:
    checks = amanah("doctor", "--json").json["checks"]
    return {c["name"]: c["detail"] for c in checks if c["status"] == "wrong"}


ALTERED = {
    "another": "UPDATE disclosures SET disclosure = 'words'",
    "not UTF-8": "UPDATE disclosures SET disclosure = CAST(x'ff' AS TEXT)",
    "beside another entry": 'UPDATE disclosures SET "index" = 0',
    "beside no entry": 'UPDATE disclosures SET "index" = 99',
}


@pytest.mark.parametrize("sql", ALTERED.values(), ids=ALTERED)
def test_an_altered_text_is_not_served_and_found(told: tuple[Amanah, int, int], sql: str) -> None:
    amanah, kept, _ = told
    assert wrong(amanah) == {}
    run_sql(amanah.database, sql)
    assert list(wrong(amanah)) == ["texts"]
    assert served(amanah, kept)["disclosures"] == []
    assert served(amanah, 0)["disclosures"] == []


def test_an_erased_text_that_was_put_back(told: tuple[Amanah, int, int]) -> None:
    amanah, _, erased = told
    disclosure = disclosed_report(f"{WORDS} Erased.", "report-2")[1]
    run_sql(amanah.database, f"INSERT INTO disclosures VALUES ({erased}, '{disclosure}')")
    assert "was erased, and is there" in wrong(amanah)["texts"]
    assert served(amanah, erased)["disclosures"] == []
    assert amanah("erase", erased, "--reason", "again").code == 0
    assert wrong(amanah) == {}
    assert served(amanah, erased)["erased"]["reason"] == "as was asked"


def test_a_rebuild_leaves_texts_alone(told: tuple[Amanah, int, int]) -> None:
    amanah, kept, erased = told
    before = [served(amanah, index) for index in (kept, erased)]
    assert before[0]["disclosures"]
    assert "erased" in before[1]
    assert amanah("rebuild").code == 0
    assert [served(amanah, index) for index in (kept, erased)] == before
    assert wrong(amanah) == {}


def test_a_backup_has_them(told: tuple[Amanah, int, int], tmp_path: Path) -> None:
    amanah, kept, erased = told
    before = [served(amanah, index) for index in (kept, erased)]
    assert amanah("backup", tmp_path / "copy.db").code == 0
    assert amanah("restore", tmp_path / "copy.db", "--replace").code == 0
    assert [served(amanah, index) for index in (kept, erased)] == before


def served(amanah: Amanah, index: int) -> Any:
    """What the API says of an entry."""
    from ledger.app import create_app
    from ledger.config import Config

    app = create_app(Config.from_environment({"AMANAH_DATABASE": str(amanah.database)}))
    with closing(app.extensions["amanah"]):
        return app.test_client().get(f"/v1/entries/{index}").get_json()


def test_erasing_is_one_transaction(
    told: tuple[Amanah, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut short before its commit, the text is there and nothing says that it was erased."""
    amanah, kept, _ = told
    before = served(amanah, kept)

    def stop(connection: sqlite3.Connection, erasure: texts.Erasure) -> None:
        erase(connection, erasure)
        raise sqlite3.OperationalError("the power went")

    erase = texts.erase
    monkeypatch.setattr("ledger.store.transaction.erase", stop)
    assert amanah("erase", kept, "--reason", "as was asked").code != 0
    assert served(amanah, kept) == before

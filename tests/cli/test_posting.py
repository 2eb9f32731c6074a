"""post and import: what is taken, what is refused, and how a refusal is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ledger.entry import entry_hash
from ledger.service import Ledger
from tests.command_line import Amanah, Site, lines, size_of, statements_of
from tests.support import HERE, ORIGIN, PLATFORM, donation, party, programme

NASTY = HERE / "data" / "360giving-nasty.json"
HEX = set("0123456789abcdef")


# -- post

GIFTS = [donation(ref=f"gift-{n}", amount=str(n)) for n in range(1, 4)]
POSTS = [{"statement": gift} for gift in GIFTS]
SHAPES: dict[str, str] = {
    "an array": json.dumps(GIFTS),
    "an array, printed wide": json.dumps(GIFTS, indent=2),
    "an array of posts": json.dumps(POSTS),
    "entries": json.dumps({"entries": POSTS}),
    "entries, printed wide": json.dumps({"entries": POSTS}, indent=4),
    "entries, one a line": '{"entries": [' + "\n,".join(map(json.dumps, POSTS)) + "]}\n",
    "lines": lines(*GIFTS),
    "lines of posts": lines(*POSTS),
    "lines with CRLF and blank ones": lines(*GIFTS).replace("\n", "\r\n\r\n"),
    "lines, the last not ended": lines(*GIFTS).removesuffix("\n"),
}


@pytest.mark.parametrize("text", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("way", ["file", "stdin"])
def test_statements_are_taken_in_many_shapes(amanah: Amanah, text: str, way: str) -> None:
    file = amanah.database.with_name("statements.json")
    file.write_text(text)
    source = ("post", file) if way == "file" else ("post",)
    outcome = amanah(*source, "--platform", PLATFORM, stdin=text)
    assert (outcome.code, outcome.err) == (0, "")
    assert statements_of(amanah)[3:] == GIFTS
    ledger = Ledger.open(amanah.database)
    hashes = [entry_hash(entry).hex() for entry in ledger.store.entries(3, 6)]
    ledger.close()
    assert outcome.out == "".join(f"{n} {hash_}\n" for n, hash_ in enumerate(hashes, 3))


@pytest.mark.parametrize("bare", [True, False])
def test_one_statement_alone(amanah: Amanah, bare: bool) -> None:
    text = json.dumps(GIFTS[0] if bare else POSTS[0], indent=1)
    outcome = amanah.really("post", "--platform", PLATFORM, "--json", stdin=text)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.json.keys() == {"index", "leaf_hash", "replayed"}
    assert (outcome.json["index"], outcome.json["replayed"]) == (3, False)
    assert set(outcome.json["leaf_hash"]) <= HEX


def test_a_post_taken_up_again_is_replayed(amanah: Amanah) -> None:
    first = amanah("post", "--platform", PLATFORM, stdin=lines(*GIFTS[:2]))
    again = amanah("post", "--platform", PLATFORM, stdin=lines(*GIFTS))
    assert again.code == 0
    told = again.out.splitlines()
    assert told[:2] == [f"{line} replayed" for line in first.out.splitlines()]
    assert not told[2].endswith("replayed")
    assert size_of(amanah) == 6


@pytest.mark.parametrize("registers_itself", [True, False])
def test_a_new_platform_is_registered(empty: Amanah, registers_itself: bool) -> None:
    """Unless it does so itself, in its own words, in what is posted."""
    empty("init", "--origin", ORIGIN)
    mine = party("baru", name="Platform Baru", kind="platform")
    statements = [mine, party("x")] if registers_itself else [party("x")]
    outcome = empty("post", "--platform", "baru", stdin=lines(*statements))
    assert outcome.code == 0
    assert ("Registered the platform 'baru'" in outcome.err) == (not registers_itself)
    assert [s.get("id") for s in statements_of(empty)] == [None, "baru", "x"]
    assert (statements_of(empty)[1]["name"] == "Platform Baru") == registers_itself


def test_a_refusal_names_the_statement_and_seals_none_of_its_batch(amanah: Amanah) -> None:
    statements = [GIFTS[0], donation(ref="bad", amount="0"), GIFTS[1]]
    outcome = amanah.really("post", "--platform", PLATFORM, stdin=lines(*statements))
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("Of statements 1 to 3 none was sealed.\n")
    assert "  statement 2, /statement/amount: " in outcome.err
    assert "amanah: invalid_amount: " in outcome.err
    assert size_of(amanah) == 3


def test_a_refusal_in_a_later_batch_leaves_those_before_it_sealed(amanah: Amanah) -> None:
    statements = [donation(ref=f"r{n}") for n in range(1, 503)]
    statements[500] |= {"fund": "nowhere"}
    outcome = amanah("post", "--platform", PLATFORM, stdin=lines(*statements))
    assert outcome.code == 1
    assert len(outcome.out.splitlines()) == 500
    assert "Of statements 501 to 502 none was sealed; those before them were.\n" in outcome.err
    assert "  statement 501, /statement/fund: no fund 'nowhere' is registered" in outcome.err
    assert size_of(amanah) == 503
    again = amanah("post", "--platform", PLATFORM, stdin=lines(*statements[:500]))
    assert again.out.count(" replayed\n") == 500


UNREADABLE = {
    "nothing": ("", "not JSON"),
    "no JSON": ("hello", "not JSON"),
    "a number with decimals": ('{"type":"donation","amount":1.5}', "1.5 is not a whole number"),
    "a key twice": ('{"type":"a","type":"b"}', "stands twice"),
    "a line that is none": (lines(GIFTS[0]) + "hello\n", "statement 2: not JSON"),
    "a line with a float": (lines(GIFTS[0]) + '{"a":0.5}\n', "statement 2: /a: 0.5"),
    "a number": ("5", "statement 1 is not an object"),
    "an array in an array": ("[[]]", "statement 1 is not an object"),
    "a text on the second line": (lines(GIFTS[0], "text"), "statement 2 is not an object"),
    "a post without an object": ('{"statement":5}', "statement 1 is not an object"),
}


@pytest.mark.parametrize(("text", "message"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_refused(amanah: Amanah, text: str, message: str) -> None:
    outcome = amanah("post", "--platform", PLATFORM, stdin=text)
    assert (outcome.code, outcome.out) == (1, "")
    assert message in outcome.err
    assert size_of(amanah) == 3


def test_a_post_needs_to_know_where_to(amanah: Amanah) -> None:
    nowhere = amanah("post", stdin=lines(GIFTS[0]))
    assert nowhere.code == 2
    assert "give --platform ID for the local ledger, or --url for a remote one" in nowhere.err
    keyless = amanah("post", "--url", "http://127.0.0.1:9", stdin=lines(GIFTS[0]))
    assert keyless.code == 2
    assert "set AMANAH_API_KEY to the API key of that ledger" in keyless.err
    assert amanah("post", "no-such-file", "--platform", PLATFORM).code == 2


def test_posting_over_http(site: Site) -> None:
    statements = [donation(ref=f"over-http-{n}") for n in range(3)]
    file = site.amanah.database.with_name("gifts.jsonl")
    file.write_text(lines(*statements))
    first = site.post(file)
    assert (first.code, first.err) == (0, "")
    again = site.post(file, "--json")
    told = [json.loads(line) for line in again.out.splitlines()]
    assert [f"{t['index']} {t['leaf_hash']}" for t in told] == first.out.splitlines()
    assert all(t["replayed"] for t in told)


def test_a_refusal_over_http_names_the_statement_too(site: Site) -> None:
    good, bad = donation(ref="not-sealed"), donation(ref="not-sealed-2", fund="nowhere")
    refused = site.post(stdin=lines(good, bad))
    assert (refused.code, refused.out) == (1, "")
    assert "  statement 2, /statement/fund: no fund 'nowhere' is registered" in refused.err
    assert "amanah: unknown_reference: " in refused.err
    conflict = site.post(stdin=lines(good, donation(ref="gift-0", amount="7")))
    assert conflict.code == 1
    assert "  statement 2, /statement/ref: already used at index 3" in conflict.err
    assert "amanah: ref_conflict: " in conflict.err


def test_more_than_one_request_holds_is_posted_in_several(site: Site) -> None:
    """300 programmes of some 15 kB: fewer than a batch may be, but over the 4 MiB of a body."""
    parties = [f"{n:02d}".ljust(63, "x") for n in range(30)]
    roles = ("orchestrator", "funding", "accountable", "extending", "implementing")
    involved = [{"party": party_id, "role": role} for party_id in parties for role in roles]
    statements = [party(party_id, ref=f"big-{party_id[:2]}") for party_id in parties]
    statements += [programme(f"big-{n}", participants=involved) for n in range(300)]
    assert len(lines(*statements)) > 4 * 1024 * 1024
    posted = site.post(stdin=lines(*statements))
    assert (posted.code, posted.err) == (0, "")
    assert len(posted.out.splitlines()) == 330


def test_a_key_that_is_not_known_there(site: Site) -> None:
    arguments = ("post", "--url", site.server.url)
    outcome = site.amanah(*arguments, stdin=lines(GIFTS[0]), AMANAH_API_KEY="amanah_wrong")
    assert (outcome.code, outcome.out) == (1, "")
    assert "amanah: unauthorized: this API key is not known here" in outcome.err


# -- import


def test_an_import_that_refuses_some_exits_1_and_adds_nothing_the_second_time(
    amanah: Amanah,
) -> None:
    first = amanah.really("import", "360giving", NASTY, "--platform", "grants")
    assert first.code == 1
    assert "Registered the platform 'grants'" in first.err
    assert "Refused " in first.err
    assert " grants sealed in " in first.out
    size = size_of(amanah)
    again = amanah("import", "360giving", NASTY, "--platform", "grants", "--json")
    assert again.code == 1
    report = again.json
    assert report["grants"] == report["parties"] == report["funds"] == 0
    assert first.out.startswith("9 grants sealed in ")
    assert report["replayed"] == 10  # one of them stands twice in the file
    assert {"id", "code", "reason"} == report["refused"][0].keys()
    assert size_of(amanah) == size


def test_an_import_of_a_clean_file_exits_0(site: Site, tmp_path: Path) -> None:
    grants = json.loads((HERE / "data" / "360giving-154-grants.json").read_text())["grants"]
    file = tmp_path / "grants.json"
    file.write_text(json.dumps({"grants": grants[:3]}))
    command = ("import", "360giving", file, "--url", site.server.url)
    outcome = site.amanah(*command, "--platform", PLATFORM, "--json", AMANAH_API_KEY=site.key)
    assert (outcome.code, outcome.err) == (0, "")
    assert (outcome.json["grants"], outcome.json["refused"]) == (3, [])
    unnamed = site.amanah(*command, AMANAH_API_KEY=site.key)
    assert unnamed.code == 2
    assert "name with --platform the platform the API key belongs to" in unnamed.err


def test_an_import_of_something_else(amanah: Amanah) -> None:
    file = amanah.database.with_name("other.json")
    file.write_text("[]")
    outcome = amanah("import", "360giving", file, "--platform", PLATFORM)
    assert (outcome.code, outcome.out) == (1, "")
    assert "a 360Giving file is an object" in outcome.err


def test_a_key_can_come_from_a_file(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "api-key"
    path.write_text(f"{site.key}\n")
    arguments = ("post", "-", "--url", site.server.url)
    posted = site.amanah(*arguments, stdin=lines(donation(ref="f")), AMANAH_API_KEY_FILE=str(path))
    assert posted.code == 0

"""Reading entries over the API: pages, filters, one entry, its receipt.

Against what follows from the entries of the shelf by definition.
"""

from __future__ import annotations

import itertools
from typing import Any
from urllib.parse import urlencode

import pytest

from ledger.tlog.merkle import tree_root, verify_inclusion
from ledger.tlog.policy import Policy
from ledger.tlog.proof import parse_proof
from tests.shelf import SIZE, Shelf


def test_the_shelf_is_full(shelf: Shelf) -> None:
    assert shelf.ledger.store.size() == len(shelf.entries) == SIZE


# -- pages and filters


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [7, 100, 599, 600, 601, 1000])
def test_pages_cover_all_entries_once_and_in_order(shelf: Shelf, order: str, limit: int) -> None:
    pages = list(shelf.pages({"order": order, "limit": limit}))
    indexes = [item["entry"]["index"] for page in pages for item in page["entries"]]
    assert indexes == (list(range(SIZE)) if order == "asc" else list(range(SIZE))[::-1])
    assert len(pages) == -(-SIZE // limit)
    assert [page["next"] for page in pages[:-1]] == [
        page["entries"][-1]["entry"]["index"] for page in pages[:-1]
    ]


def test_a_page_has_a_hundred_entries_from_the_first_on(shelf: Shelf) -> None:
    page = shelf.get("/v1/entries").get_json()
    assert [item["entry"]["index"] for item in page["entries"]] == list(range(100))
    assert page["next"] == 99


def test_a_page_holds_the_very_bytes_that_were_sealed(shelf: Shelf) -> None:
    response = shelf.get("/v1/entries?limit=1000")
    assert response.content_type == "application/json"
    items = [
        b'{"entry":' + data + b',"leaf_hash":"' + leaf.hex().encode() + b'"}'
        for data, leaf in zip(shelf.entries, shelf.hashes, strict=True)
    ]
    assert response.data == b'{"entries":[' + b",".join(items) + b'],"next":null}'


def named(entry: Any) -> set[tuple[str, str]]:
    """All a filter finds an entry by, read off the entry."""
    statement = entry["statement"]
    names = {("platform", entry["platform"]), ("type", statement["type"])}
    lines = (*entry.get("totals", ()), *entry.get("goods", ()))
    names |= {("fund", line["fund"]) for line in lines}
    if statement["type"] in ("party", "programme", "fund"):
        names.add((statement["type"], statement["id"]))
    names |= {("party", statement[field]) for field in ("owner", "lead") if field in statement}
    names |= {("party", party_id) for party_id in statement.get("platforms", ())}
    names |= {("programme", programme_id) for programme_id in statement.get("programmes", ())}
    for field in ("donor", "recipient"):
        if "party" in statement.get(field, {}):
            names.add(("party", statement[field]["party"]))
    return names


TERMS = {
    "fund": ["air", "desa", "kosong", "nothing"],
    "type": ["donation", "refund", "transfer", "fund", "genesis", "goods_in"],
    "party": ["yayasan", "dinkes", "kita", "nothing"],
    "programme": ["gizi", "air", "nothing"],
    "platform": ["kita", "lain", "ledger", "nothing"],
}
COMBINED = [
    dict(zip(names, values, strict=True))
    for count in (1, 2, 3, 5)
    for names in itertools.combinations(TERMS, count)
    for values in itertools.product(
        *(TERMS[name][:2] if count > 2 else TERMS[name] for name in names)
    )
]


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_filters_find_exactly_what_they_name(shelf: Shelf, order: str) -> None:
    """Every filter alone, every two with all values, and every three and five."""
    names = [named(entry) for entry in shelf.parsed]
    found = 0
    for terms in COMBINED:
        expected = [i for i in range(SIZE) if terms.items() <= names[i]]
        pages = list(shelf.pages({**terms, "order": order, "limit": 1000}))
        indexes = [item["entry"]["index"] for page in pages for item in page["entries"]]
        assert indexes == (expected if order == "asc" else expected[::-1]), terms
        found += bool(expected)
    assert found > 50  # of combinations that are not empty


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_filtered_pages_go_on_where_the_last_one_ended(shelf: Shelf, order: str) -> None:
    terms = {"fund": "air", "platform": "lain", "type": "transfer"}
    [whole] = shelf.pages({**terms, "order": order, "limit": 1000})
    paged = list(shelf.pages({**terms, "order": order, "limit": 5}))
    assert [entry for page in paged for entry in page["entries"]] == whole["entries"]
    assert len(paged) > 5


def test_after_is_exclusive_in_both_orders(shelf: Shelf) -> None:
    def indexes(query: str) -> list[int]:
        page = shelf.get(f"/v1/entries?{query}").get_json()
        return [item["entry"]["index"] for item in page["entries"]]

    assert indexes("after=597") == [598, 599]
    assert indexes("after=599") == []
    assert indexes("after=9007199254740991") == []
    assert indexes("after=2&order=desc") == [1, 0]
    assert indexes("after=0&order=desc") == []
    assert indexes("after=600&order=desc&limit=1") == [599]
    assert indexes("after=0&limit=1") == [1]


def test_a_ref_finds_its_one_entry(shelf: Shelf) -> None:
    def found(**query: Any) -> list[int]:
        page = shelf.get(f"/v1/entries?{urlencode(query)}").get_json()
        assert page["next"] is None
        return [item["entry"]["index"] for item in page["entries"]]

    for entry in shelf.parsed[:40]:
        ref, index = entry["statement"]["ref"], entry["index"]
        this = {"platform": entry["platform"], "ref": ref}
        assert found(**this) == found(**this, order="desc") == [index]
        assert found(**this, type=entry["statement"]["type"]) == [index]
        assert found(**this, type="attestation") == []
        assert found(**this, fund="nothing") == []
        assert found(**this, after=index) == found(**this, after=index, order="desc") == []
        assert found(**this, after=index + 1, order="desc") == [index]
        if index:
            assert found(**this, after=index - 1) == [index]
        assert found(platform="nothing", ref=ref) == []
    assert found(platform="kita", ref="nothing") == []


BAD_QUERIES = """
/v1/entries?limit=0 /v1/entries?limit=1001 /v1/entries?limit= /v1/entries?limit=x
/v1/entries?limit=01 /v1/entries?limit=%2B5 /v1/entries?limit=5.0 /v1/entries?limit=-1
/v1/entries?limit=%205 /v1/entries?limit=1_0 /v1/entries?limit=%D9%A1 /v1/entries?limit=5%0A
/v1/entries?after=-1 /v1/entries?after=x /v1/entries?after= /v1/entries?after=9007199254740992
/v1/entries?order=up /v1/entries?order= /v1/entries?order=ASC /v1/entries?order=asc%0A
/v1/entries?ref=n1 /v1/entries?ref=n1&party=kita /v1/entries?Fund=air /v1/entries?offset=5
/v1/entries?fund=air&fund=air /v1/entries?limit=5&limit=6 /v1/entries?fund[]=air /v1/entries?=
/v1/funds?limit=0 /v1/funds?limit=1001 /v1/funds?order=asc /v1/funds?after=a&after=b
/v1/parties?limit=x /v1/parties?id=kita /v1/programmes?limit=1001 /v1/programmes?fund=air
/v1/proofs/inclusion /v1/proofs/inclusion?index=0 /v1/proofs/inclusion?size=1
/v1/proofs/inclusion?index=0&size=0 /v1/proofs/inclusion?index=1&size=1
/v1/proofs/inclusion?index=600&size=600 /v1/proofs/inclusion?index=-1&size=5
/v1/proofs/inclusion?index=00&size=5 /v1/proofs/inclusion?index=0&size=5&leaf=x
/v1/proofs/inclusion?index=0&index=1&size=5 /v1/proofs/inclusion?index=1e2&size=600
/v1/proofs/consistency /v1/proofs/consistency?from=1 /v1/proofs/consistency?to=1
/v1/proofs/consistency?from=0&to=1 /v1/proofs/consistency?from=2&to=1
/v1/proofs/consistency?from=0&to=0 /v1/proofs/consistency?from=x&to=1
/v1/proofs/consistency?old=1&new=2 /v1/proofs/consistency?from=1&to=2&to=3
""".split()


@pytest.mark.parametrize("path", BAD_QUERIES)
def test_a_query_in_any_other_spelling_is_400(shelf: Shelf, path: str) -> None:
    response = shelf.get(path, 400)
    assert response.content_type == "application/problem+json"
    assert response.get_json()["code"] == "invalid_query"
    assert response.headers["Cache-Control"] == "no-store"


# -- one entry


@pytest.mark.parametrize("index", [0, 1, 2, 255, 256, 599])
def test_an_entry_in_both_its_forms(shelf: Shelf, index: int) -> None:
    path = f"/v1/entries/{index}"
    asked = shelf.get(path)
    assert asked.content_type == "application/json"
    assert asked.get_json() == {
        "entry": shelf.parsed[index],
        "leaf_hash": shelf.hashes[index].hex(),
        "disclosures": [],
        "links": {"self": path, "receipt": f"{path}/receipt"},
    }
    assert asked.data.startswith(b'{"entry":' + shelf.entries[index] + b",")
    exact = shelf.get(path, Accept="application/octet-stream")
    assert exact.content_type == "application/octet-stream"
    assert exact.data == shelf.entries[index]
    assert asked.headers["Vary"] == exact.headers["Vary"] == "Accept"


def test_an_entry_that_a_client_has_already_is_not_sent_again(shelf: Shelf) -> None:
    tags = {}
    for kind in ("application/json", "application/octet-stream"):
        response = shelf.get("/v1/entries/7", Accept=kind)
        tags[kind] = response.headers["ETag"]
        again = shelf.get("/v1/entries/7", 304, Accept=kind, If_None_Match=tags[kind])
        assert again.data == b""
        assert again.headers["ETag"] == tags[kind]
        assert again.headers["Access-Control-Allow-Origin"] == "*"
        assert shelf.get("/v1/entries/8", Accept=kind).headers["ETag"] != tags[kind]
    assert len(set(tags.values())) == 2
    other = tags["application/octet-stream"]
    assert shelf.get("/v1/entries/7", Accept="application/json", If_None_Match=other).data
    shelf.get("/v1/entries/7", 304, If_None_Match=f'"x", {tags["application/json"]}')
    shelf.get("/v1/entries/7", 304, If_None_Match="*")


ACCEPT = {
    "": 0,
    "*/*": 0,
    "application/*": 0,
    "text/html, application/xhtml+xml, */*;q=0.8": 0,
    "application/json": 0,
    "application/json, application/octet-stream": 0,
    "application/json;q=0.5, application/octet-stream": 1,
    "application/octet-stream": 1,
    "application/octet-stream;q=0.1, text/html": 1,
    "application/octet-stream;q=0.1, */*;q=0.5": 0,
    "application/octet-stream;q=0": 0,
    "image/png": 0,
    "nonsense": 0,
}


@pytest.mark.parametrize(("accept", "form"), ACCEPT.items(), ids=[a or "none" for a in ACCEPT])
def test_accept_chooses_the_form_of_an_entry(shelf: Shelf, accept: str, form: int) -> None:
    response = shelf.get("/v1/entries/7", Accept=accept)
    assert response.mimetype == ("application/json", "application/octet-stream")[form]


@pytest.mark.parametrize(
    ("accept", "mimetype"),
    [
        ("", "text/plain"),
        ("*/*", "text/plain"),
        ("text/*", "text/plain"),
        ("text/html, */*;q=0.8", "text/plain"),
        ("application/json", "application/json"),
        ("application/json;q=0.9, text/plain;q=0.5", "application/json"),
        ("application/json;q=0.5, text/plain", "text/plain"),
        ("application/octet-stream", "text/plain"),
    ],
)
def test_accept_chooses_the_form_of_a_receipt(shelf: Shelf, accept: str, mimetype: str) -> None:
    response = shelf.get("/v1/entries/7/receipt", Accept=accept)
    assert response.mimetype == mimetype
    assert response.headers["Vary"] == "Accept"


NO_INDEXES = """
600 9007199254740991 9007199254740993 99999999999999999999 01 -1 +1 1.0 x %D9%A1 1%0A %201
""".split()


@pytest.mark.parametrize("rest", ["", "/receipt"])
@pytest.mark.parametrize("index", NO_INDEXES)
def test_what_is_no_entry_is_404(shelf: Shelf, index: str, rest: str) -> None:
    response = shelf.get(f"/v1/entries/{index}{rest}", 404)
    assert response.get_json()["code"] == "not_found"
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("index", [0, 1, 254, 255, 256, 511, 512, 598, 599])
def test_a_receipt_proves_its_entry_in_both_its_forms(shelf: Shelf, index: int) -> None:
    response = shelf.get(f"/v1/entries/{index}/receipt")
    assert response.content_type == "text/plain; charset=utf-8"
    assert f'filename="{index}.tlog-proof"' in response.headers["Content-Disposition"]
    proof = parse_proof(response.data)
    policy = Policy.for_key(shelf.ledger.vkeys[0])
    assert proof.verify(shelf.hashes[index], policy).size == SIZE
    assert (proof.index, proof.extra) == (index, shelf.entries[index])
    asked = shelf.get(f"/v1/entries/{index}/receipt", Accept="application/json").get_json()
    root = tree_root(shelf.hashes)
    assert asked == {
        "index": index,
        "entry": shelf.parsed[index],
        "leaf_hash": shelf.hashes[index].hex(),
        "size": SIZE,
        "proof": [hash_.hex() for hash_ in proof.hashes],
        "root": root.hex(),
        "checkpoint": shelf.ledger.store.checkpoint().decode(),
        "witnessed": False,
    }
    verify_inclusion(shelf.hashes[index], index, SIZE, proof.hashes, root)

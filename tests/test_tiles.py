"""Reading the log over the API: proofs, tiles, bundles, the checkpoint, and what is registered."""

from __future__ import annotations

import gzip
import itertools
from typing import Any

import pytest

from ledger.money import CURRENCIES
from ledger.tlog.checkpoint import open_checkpoint
from ledger.tlog.merkle import tree_root, verify_consistency, verify_inclusion
from ledger.tlog.tile import bundle_path, decode_bundle
from tests.shelf import SIZE, Shelf, following
from tests.support import ORIGIN, vectors

IMMUTABLE = "public, max-age=31536000, immutable"


# -- proofs

SIZES = [1, 2, 3, 4, 7, 8, 255, 256, 257, 511, 512, 513, 599, 600]


def test_inclusion_proofs_lead_to_the_root_of_their_size(shelf: Shelf) -> None:
    for size in SIZES:
        root = tree_root(shelf.hashes[:size])
        for index in {0, 1, size // 2, size - 2, size - 1} & set(range(size)):
            answer = shelf.get(f"/v1/proofs/inclusion?index={index}&size={size}").get_json()
            proof = [bytes.fromhex(hash_) for hash_ in answer["proof"]]
            verify_inclusion(shelf.hashes[index], index, size, proof, root)
            assert answer == {
                "index": index,
                "size": size,
                "leaf_hash": shelf.hashes[index].hex(),
                "proof": [hash_.hex() for hash_ in proof],
                "root": root.hex(),
            }


def test_consistency_proofs_lead_from_root_to_root(shelf: Shelf) -> None:
    roots = {size: tree_root(shelf.hashes[:size]) for size in SIZES}
    for old, new in itertools.combinations_with_replacement(SIZES, 2):
        answer = shelf.get(f"/v1/proofs/consistency?from={old}&to={new}").get_json()
        proof = [bytes.fromhex(hash_) for hash_ in answer["proof"]]
        verify_consistency(old, new, proof, roots[old], roots[new])
        assert answer == {
            "from": old,
            "to": new,
            "proof": [hash_.hex() for hash_ in proof],
            "root_from": roots[old].hex(),
            "root_to": roots[new].hex(),
        }
        assert (not proof) == (old == new)


BEYOND = """
inclusion?index=0&size=601 inclusion?index=700&size=701
consistency?from=1&to=601 consistency?from=601&to=602
""".split()


@pytest.mark.parametrize("query", BEYOND)
def test_a_size_the_ledger_has_not_reached_is_404(shelf: Shelf, query: str) -> None:
    assert shelf.get(f"/v1/proofs/{query}", 404).get_json()["code"] == "not_found"


# -- tiles


def test_tiles_are_served_in_every_width_the_tree_has_reached(shelf: Shelf) -> None:
    for index, reached in ((0, 256), (1, 256), (2, SIZE - 512)):
        leaves = shelf.hashes[index * 256 : index * 256 + reached]
        for width in range(1, reached + 1):
            end = "" if width == 256 else f".p/{width}"
            response = shelf.get(f"/tile/0/00{index}{end}")
            assert response.data == b"".join(leaves[:width])
            assert response.content_type == "application/octet-stream"
            assert response.headers["Cache-Control"] == IMMUTABLE
        for width in range(reached + 1, 257):
            end = "" if width == 256 else f".p/{width}"
            assert (
                "immutable"
                not in shelf.get(f"/tile/0/00{index}{end}", 404).headers["Cache-Control"]
            )
    tops = [tree_root(shelf.hashes[start : start + 256]) for start in (0, 256)]
    assert shelf.get("/tile/1/000.p/1").data == tops[0]
    assert shelf.get("/tile/1/000.p/2").data == b"".join(tops)


def test_bundles_are_served_in_every_width_the_tree_has_reached(shelf: Shelf) -> None:
    for index, reached in ((0, 256), (1, 256), (2, SIZE - 512)):
        for width in (1, 2, 3, 87, 88, 89, 254, 255, 256):
            path = f"/{bundle_path(index, width)}"
            if width > reached:
                assert "immutable" not in shelf.get(path, 404).headers["Cache-Control"]
                continue
            response = shelf.get(path)
            start = index * 256
            assert decode_bundle(response.data, width) == shelf.entries[start : start + width]
            assert response.content_type == "application/octet-stream"
            assert response.headers["Cache-Control"] == IMMUTABLE


@pytest.mark.parametrize(
    ("accepted", "zipped"),
    [
        ("", False),
        ("identity", False),
        ("br", False),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("gzip", True),
        ("br, gzip;q=0.5", True),
        ("*", True),
    ],
)
def test_a_bundle_is_gzipped_for_whoever_takes_that(
    shelf: Shelf, accepted: str, zipped: bool
) -> None:
    response = shelf.get("/tile/entries/000", Accept_Encoding=accepted)
    plain = shelf.get("/tile/entries/000").data
    assert response.headers.get("Content-Encoding") == ("gzip" if zipped else None)
    assert (gzip.decompress(response.data) if zipped else response.data) == plain
    assert response.headers["Vary"] == "Accept-Encoding"
    assert response.headers["Cache-Control"] == IMMUTABLE
    assert int(response.headers["Content-Length"]) == len(response.data)
    if zipped:
        assert len(response.data) < len(plain) / 2


NO_TILES = """
tile/2/000.p/1 tile/1/000 tile/1/000.p/3 tile/1/001.p/1 tile/0/003.p/1 tile/0/x001/000
tile/63/000.p/1 tile/entries/003.p/1 tile/entries/x001/000 tile/entries tile/0
""".split()


@pytest.mark.parametrize("path", [*vectors("tile-paths.json")["invalid"], *NO_TILES])
def test_any_other_tile_is_404_and_never_cached_for_ever(shelf: Shelf, path: str) -> None:
    response = shelf.get(f"/{path}", 404)
    assert response.get_json()["code"] == "not_found"
    assert response.headers["Cache-Control"] == "no-store"


def test_the_checkpoint_is_of_the_whole_log_and_never_cached(shelf: Shelf) -> None:
    response = shelf.get("/checkpoint")
    assert response.content_type == "text/plain; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-cache"
    checkpoint = open_checkpoint(response.data, shelf.ledger.vkeys[0])
    assert (checkpoint.size, checkpoint.root) == (SIZE, tree_root(shelf.hashes))


# -- the ledger and what is registered


def test_the_ledger_says_what_it_is(shelf: Shelf) -> None:
    response = shelf.get("/v1/ledger")
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.get_json() == {
        "format": "amanah/1",
        "origin": ORIGIN,
        "operator": "Operator of the tests",
        "vkeys": shelf.parsed[0]["statement"]["vkeys"],
        "size": SIZE,
        "published_size": SIZE,
        "limits": {
            "batch": 1000,
            "body_bytes": 4 * 1024 * 1024,
            "statement_bytes": 16 * 1024,
            "entry_bytes": 48_000,
            "page": 1000,
        },
        "currencies": CURRENCIES,
    }


def newest(shelf: Shelf, kind: str) -> dict[str, int]:
    """By id, the index of the current statement of a party, programme or fund."""
    statements = [(entry["index"], entry["statement"]) for entry in shelf.parsed]
    return {s["id"]: index for index, s in statements if s["type"] == kind}


def expected_item(shelf: Shelf, kind: str, item_id: str, index: int) -> Any:
    links = {"self": f"/v1/entries/{index}", "receipt": f"/v1/entries/{index}/receipt"}
    item = {"id": item_id, "index": index, kind: shelf.parsed[index]["statement"], "links": links}
    for entry in shelf.parsed:
        for total in entry.get("totals", ()):
            if kind == "fund" and total["fund"] == item_id:
                item |= {"totals": total, "totals_index": entry["index"]}
    return item


@pytest.mark.parametrize(
    ("kind", "name"), [("party", "parties"), ("programme", "programmes"), ("fund", "funds")]
)
@pytest.mark.parametrize("limit", [1, 2, 100])
def test_what_is_registered_in_order_of_id(shelf: Shelf, kind: str, name: str, limit: int) -> None:
    places = newest(shelf, kind)
    items: list[Any] = []
    path = f"/v1/{name}?limit={limit}"
    while path:
        response = shelf.get(path)
        page = response.get_json()
        assert page.keys() == {name, "next"}
        assert 1 <= len(page[name]) <= limit
        items += page[name]
        path = following(response)
        assert page["next"] == (page[name][-1]["id"] if path else None)
    assert items == [expected_item(shelf, kind, id_, places[id_]) for id_ in sorted(places)]
    for item in items:
        alone = shelf.get(f"/v1/{name}/{item['id']}").get_json()
        assert alone.keys() - item.keys() == {"figures", "as_of"}
        assert alone.items() >= item.items()


def test_the_shelf_has_what_makes_the_last_test_hard(shelf: Shelf) -> None:
    assert newest(shelf, "programme")["air"] == 10  # superseded once
    assert "totals" not in shelf.get("/v1/funds/kosong").get_json()
    assert shelf.get("/v1/funds/air").get_json()["totals_index"] > 590


UNREGISTERED = "parties/nothing parties/KITA parties/ledger funds/kita funds/%00 programmes/desa"


@pytest.mark.parametrize("path", UNREGISTERED.split())
def test_what_is_not_registered_is_404(shelf: Shelf, path: str) -> None:
    assert shelf.get(f"/v1/{path}", 404).get_json()["code"] == "not_found"


def test_every_link_leads_somewhere(shelf: Shelf) -> None:
    root = shelf.get("/").get_json()
    assert root["ledger"] == ORIGIN
    for link in root["links"]:
        shelf.get(link)

"""A ledger of 600 entries that is only read, and what stands in it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from flask import Flask
from werkzeug.test import TestResponse

from ledger.entry import entry_hash
from ledger.service import Ledger
from tests.signers import acknowledgement, keyed, signed
from tests.support import (
    ORIGIN,
    Api,
    Statement,
    disbursement,
    donation,
    fund,
    goods,
    party,
    programme,
    refund,
    returned,
    transfer,
)

SIZE = 600


class Shelf(Api):
    """A client of the ledger that is only read, and its entries as bytes and parsed."""

    def __init__(self, app: Flask) -> None:
        super().__init__(app)
        self.entries = self.ledger.store.entries(0, SIZE)
        self.parsed = [json.loads(data) for data in self.entries]
        self.hashes = [entry_hash(data) for data in self.entries]

    def pages(self, query: dict[str, Any]) -> Iterator[Any]:
        """Every page of /v1/entries from `query` on, by following the links."""
        path = f"/v1/entries?{urlencode(query)}"
        while path:
            response = self.get(path)
            page = response.get_json()
            yield page
            path = following(response)
            assert (path is None) == (page["next"] is None)


def following(response: TestResponse) -> Any:
    """Where `Link: <...>; rel="next"` leads, or None."""
    link = response.headers.get("Link")
    if link is None:
        return None
    target, _, rel = link.partition(">; ")
    assert (target[0], rel) == ("<", 'rel="next"')
    return target[1:]


def story() -> Iterator[tuple[str, Statement]]:
    """What stands on the shelf behind the genesis and the two platforms' parties."""
    yield "kita", party("yayasan")
    yield "lain", party("dinkes", kind="government")
    yield "kita", programme("gizi", lead="dinkes")
    yield "kita", programme("air", lead="yayasan")
    both = ["kita", "lain"]
    yield "kita", fund("air", owner="yayasan", platforms=both, programmes=["air", "gizi"])
    yield "lain", fund("desa", owner="dinkes", platforms=["lain"], programmes=["gizi"])
    yield "kita", fund("kosong")
    yield "kita", programme("air", lead="dinkes", ref="programme.air.2", supersedes=6)
    donor = {"kind": "organisation", "party": "yayasan"}
    for number in range(SIZE - 11 - 3):
        platform, ref = ("kita", "lain")[number % 2], f"n{number}"
        match number % 7:
            case 0 | 1 | 2:
                yield platform, donation("air", ref, donor=donor)
            case 3 if number % 2 and number > 3:
                yield "lain", goods("goods_in", "desa", ref, "2.5")
            case 3:
                yield "lain", donation("desa", ref)
            case 4:
                yield platform, disbursement("air", ref, amount="7", recipient={"party": "dinkes"})
            case 5 if number % 4 == 0 and number > 20:
                yield "lain", goods("goods_out", "desa", ref, "0.25")
            case 5:
                yield "lain", transfer("desa", "air", ref, amount="3")
            case _ if number in (13, 20):
                # What was paid out two before this one.
                yield platform, returned(9 + number, ref, amount="1")
            case _:
                # The first of the seven is a donation, and stands six before this one.
                yield platform, refund(5 + number, ref, amount="1")


def fill(database: Path) -> None:
    """Create the ledger at `database` and put everything in it."""
    ledger = Ledger.create(database, ORIGIN, "Operator of the tests")
    for platform in ("kita", "lain"):
        ledger.register_platform(platform)
    for platform, group in itertools.groupby(story(), key=lambda one: one[0]):
        ledger.post(platform, [statement for _, statement in group])
    acknowledged(ledger)
    ledger.close()


def acknowledged(ledger: Ledger) -> None:
    """Money goes to a party with a key, which says that it came."""
    ledger.post("kita", [signed(keyed("penerima"), "penerima")])
    [paid] = ledger.post("kita", [disbursement("air", recipient={"party": "penerima"})]).entries
    statement = acknowledgement(paid.index, paid.leaf_hash, "penerima")
    ledger.post("kita", [signed(statement, "penerima")])

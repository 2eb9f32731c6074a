"""Parties that sign: a fixed key for each name, and posts with signatures by them."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from ledger.signing import PartyKey
from tests.support import ORIGIN, PLATFORM, Statement, party

Post = dict[str, Any]


def key(party_id: str, number: int = 0) -> PartyKey:
    """The key `number` of a party, the same in every run."""
    return PartyKey.of(party_id, sha256(f"{party_id} {number}".encode()).digest())


def signed(
    statement: Statement, *by: str | PartyKey, platform: str = PLATFORM, origin: str = ORIGIN
) -> Post:
    """The post of a statement for `platform`, signed by keys, or by the first keys of parties."""
    keys = [key(one) if isinstance(one, str) else one for one in by]
    signatures = [one.sign(statement, origin, platform) for one in keys]
    return {"statement": statement, "signatures": signatures}


def keyed(party_id: str, *numbers: int, **more: Any) -> Statement:
    """The statement of a party with keys, its first one if none is named."""
    return party(party_id, keys=[key(party_id, n).vkey for n in numbers or (0,)], **more)


def acknowledgement(target: int, leaf: bytes, by: str, ref: str = "ack", **more: Any) -> Statement:
    statement = {"type": "acknowledgement", "ref": ref, "target": target, "target_leaf": leaf.hex()}
    statement |= {"by": by, "status": "received", "occurred_at": "2026-01-06T09:00:00+07:00"}
    return statement | more


def attestation(size: int, root: bytes, by: str, ref: str = "opinion", **more: Any) -> Statement:
    checkpoint = {"origin": ORIGIN, "size": size, "root": root.hex()}
    statement = {"type": "attestation", "ref": ref, "by": by, "checkpoint": checkpoint}
    return statement | {"opinion": "unqualified"} | more

"""What a verified receipt says: in one sentence, in detail, and for programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ledger.audit import Receipt
from ledger.entry import canonical, entry_hash
from ledger.tlog.proof import parse_proof

Statement = dict[str, Any]


def receipt_document(verified: Receipt, data: bytes) -> dict[str, Any]:
    """The document of a receipt that verified. data: the receipt's own bytes."""
    proof = parse_proof(data)
    return {
        "verdict": "verified",
        "origin": verified.checkpoint.origin,
        "index": verified.entry.index,
        "size": verified.checkpoint.size,
        "root": verified.checkpoint.root.hex(),
        "witnesses": verified.witnesses,
        "entry": json.loads(verified.entry_bytes),
        "leaf_hash": entry_hash(verified.entry_bytes).hex(),
        "proof": [hash_.hex() for hash_ in proof.hashes],
        "checkpoint": proof.checkpoint.decode(),
    }


def receipt_sentence(verified: Receipt) -> str:
    """Who gave what to whom and when, where that is sealed, and what it was checked against."""
    entry, checkpoint = verified.entry, verified.checkpoint
    when = entry.statement.get("occurred_at")
    cosigned = f", which {', '.join(verified.witnesses)} cosigned" if verified.witnesses else ""
    return (
        f"VERIFIED: {_story(entry.statement)}{f' on {when}' if when else ''}, says "
        f"{entry.platform}; sealed on {entry.recorded_at} as entry {entry.index} of "
        f"{checkpoint.origin}, and checked against its signed checkpoint of "
        f"{checkpoint.size} entries{cosigned}."
    )


def receipt_details(verified: Receipt, data: bytes) -> str:
    """Everything that was checked, a line each."""
    document = receipt_document(verified, data)
    entry = verified.entry
    lines = {
        "ledger": document["origin"],
        "entry": f"{entry.index}, sealed on {entry.recorded_at}, posted by {entry.platform}",
        "statement": canonical(entry.statement).decode(),
        "totals after it": canonical(entry.totals).decode() if entry.totals else "none",
        "leaf hash": document["leaf_hash"],
        "entry before": entry.prev,
        "proof": f"{len(document['proof'])} hashes, from the leaf hash to the root",
        "root": document["root"],
        "checkpoint": f"{document['size']} entries, signed by the log",
        "witnesses": ", ".join(verified.witnesses) or "none",
    }
    return "\n".join(f"  {f'{name}:':<17}{value}" for name, value in lines.items())


# A receipt proves that a statement is sealed, not that it keeps the rules: so nothing here takes
# a field for granted.


def _story(statement: Statement) -> str:
    story = _STORIES.get(str(statement.get("type")))
    return story(statement) if story else f"a statement of the type {statement.get('type')} is made"


def _money(statement: Statement) -> str:
    return " ".join(str(statement[name]) for name in ("amount", "currency") if name in statement)


def _donation(statement: Statement) -> str:
    return f"{_donor(statement)} gave {_money(statement)} to the fund {statement.get('fund')}"


def _donor(statement: Statement) -> str:
    donor = statement.get("donor")
    donor = donor if isinstance(donor, dict) else {}
    kinds = {
        "individual": "an individual",
        "organisation": f"the organisation {donor.get('party')}",
        "pooled": "several donors together",
    }
    return kinds.get(str(donor.get("kind")), "a donor")


def _disbursement(statement: Statement) -> str:
    recipient = statement.get("recipient")
    recipient = recipient if isinstance(recipient, dict) else {}
    paid = f"the fund {statement.get('fund')} paid {_money(statement)} to "
    if "group" in recipient:
        where = f"{recipient['group']}, {recipient.get('area')}"
        return f"{paid}a group of {recipient.get('count')} ({where})"
    return f"{paid}{recipient.get('party')}"


def _transfer(statement: Statement) -> str:
    giver, taker = statement.get("from_fund"), statement.get("to_fund")
    return f"the fund {giver} passed {_money(statement)} on to the fund {taker}"


def _refund(statement: Statement) -> str:
    return f"{_money(statement)} of the donation in entry {statement.get('target')} was given back"


def _return(statement: Statement) -> str:
    return f"{_money(statement)} of what entry {statement.get('target')} paid out came back"


_STORIES: dict[str, Callable[[Statement], str]] = {
    "donation": _donation,
    "disbursement": _disbursement,
    "transfer": _transfer,
    "refund": _refund,
    "return": _return,
}

"""The shapes of answers, as JSON Schema. Objects stay open: later versions may add to them."""

from __future__ import annotations

from ledger.problems import MEANINGS
from ledger.state import COUNTERS
from ledger.views.figures import Money
from openapi.fields import Json, whole
from schemas.fields import HASH, ID

INDEX = whole()
SIZE = whole(least=1)
HEX: Json = {"type": "string", "pattern": f"^{HASH.pattern}$"}
HEXES: Json = {"type": "array", "items": HEX}
PARTY: Json = {"type": "string", "pattern": f"^{ID.pattern}$"}
TEXT: Json = {"type": "string"}
TOTAL: Json = {"type": "string", "pattern": r"^(0|[1-9][0-9]{0,17})(\.[0-9]{1,4})?$"}
_QUANTITY: Json = {"type": "string", "pattern": r"^(0|[1-9][0-9]{0,11})(\.[0-9]{0,5}[1-9])?$"}
_NOTE: Json = {"type": "string", "description": "A signed note (C2SP tlog-checkpoint)."}


def ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(description: str, /, *optional: str, **properties: Json) -> Json:
    """optional: names of what is not always there."""
    required = [name for name in properties if name not in optional]
    shape = {"type": "object", "description": description, "properties": properties}
    return shape | {"required": required}


def _page(description: str, name: str, item: Json, following: Json) -> Json:
    next_ = following | {"type": [following["type"], "null"]}
    next_ |= {"description": "The `after` of the next page; null on the last one."}
    return _object(description, **{name: {"type": "array", "items": item}, "next": next_})


def _registered(kind: str, **more: Json) -> Json:
    links = ref("Links")
    index = INDEX | {"description": "The entry that holds the statement, and so proves it."}
    properties = {"id": PARTY, "index": index, kind: ref(kind.capitalize()), "links": links}
    text = f"The current statement of a {kind}."
    return _object(text, *more, **properties, **more)


def _viewed(description: str, kind: str, figures: Json, **more: Json) -> Json:
    """What is registered, with its figures."""
    shape = _registered(kind, **more)
    properties = {**shape["properties"], "figures": figures, "as_of": ref("AsOf")}
    return _object(description, *more, **properties)


_TOTALS: dict[str, Json] = {
    "totals": ref("Total"),
    "totals_index": INDEX | {"description": "The entry that holds the totals, and proves them."},
}
_COUNTERS = dict.fromkeys(COUNTERS, TOTAL)
_SUM: Json = {"type": "string", "pattern": r"^(0|[1-9][0-9]*)(\.[0-9]{1,4})?$"}
_CURRENCY: Json = {"type": "string", "pattern": "^[A-Z]{3}$"}
_BASIS_POINTS = whole() | {"type": ["integer", "null"]}
_SHARE: dict[str, Json] = {
    "amount": _SUM,
    "of": _SUM,
    "share_bp": _BASIS_POINTS | {"description": "Basis points; null where `of` is zero."},
}
_MEDIAN = _object(
    "Half of the money, or more, waited no longer.",
    median={
        "type": ["string", "null"],
        "pattern": r"^(0|-?[1-9][0-9]*)$",
        "description": "Whole hours; null where no money is counted.",
    },
    over=_SUM | {"description": "The money that is counted."},
)


def _many(item: Json) -> Json:
    return {"type": "array", "items": item}


_ENTRY: dict[str, Json] = {"entry": ref("Entry"), "leaf_hash": HEX}

SCHEMAS: dict[str, Json] = {
    "Links": _object("Where more of an entry is.", self=TEXT, receipt=TEXT),
    "Total": _object(
        "The position of a fund after the entry. Counters that are zero are left out.",
        "prev",
        *COUNTERS,
        fund=PARTY,
        currency={"type": "string", "pattern": "^[A-Z]{3}$"},
        n=SIZE | {"description": "Which money entry of the fund this is, from 1."},
        prev=INDEX | {"description": "The fund's money entry before this one."},
        **_COUNTERS,
        balance=TOTAL,
        spans={
            "type": "array",
            "description": "The half-open intervals of the inflow line that this entry's money "
            "occupies.",
            "items": {"type": "array", "items": TOTAL, "minItems": 2, "maxItems": 2},
        },
    ),
    "Stock": _object(
        "What a fund holds of an item after the entry.",
        "prev",
        fund=PARTY,
        item=TEXT,
        unit=TEXT | {"pattern": "^[A-Z0-9]{2,3}$"},
        n=SIZE | {"description": "Which goods entry of this stock this is, from 1."},
        prev=INDEX | {"description": "The goods entry of this stock before this one."},
        **{"in": _QUANTITY, "out": _QUANTITY, "stock": _QUANTITY},
    ),
    "Entry": _object(
        "A statement as it was sealed into the log.",
        "totals",
        "goods",
        "signatures",
        index=INDEX,
        platform=PARTY | {"description": "Who posted it; `ledger` is the ledger itself."},
        prev=HEX | {"description": "The leaf hash of the entry before; 64 zeros for entry 0."},
        recorded_at={"type": "string", "format": "date-time"},
        statement=ref("SealedStatement"),
        signatures={"type": "array", "items": ref("Signature"), "minItems": 1},
        totals={"type": "array", "items": ref("Total"), "minItems": 1},
        goods={"type": "array", "items": ref("Stock"), "minItems": 1, "maxItems": 1},
    ),
    "EntryItem": _object("An entry and its leaf hash.", **_ENTRY),
    "EntryDocument": _object(
        "An entry with all that is kept beside it.",
        "erased",
        **_ENTRY,
        disclosures={
            "type": "array",
            "items": TEXT,
            "description": "Texts beside the log whose digests are sealed, while they are kept.",
        },
        erased=_object(
            "There when the text was erased.",
            at={"type": "string", "format": "date-time"},
            reason=TEXT,
        ),
        links=ref("Links"),
    ),
    "EntriesPage": _page("Entries in order.", "entries", ref("EntryItem"), INDEX),
    "Receipt": _object(
        "The proof that an entry is in the log, under a signed checkpoint.",
        **_ENTRY,
        index=INDEX,
        size=SIZE,
        proof=HEXES,
        root=HEX,
        checkpoint=_NOTE,
        witnessed={"type": "boolean", "description": "Always false for now."},
    ),
    "Posted": _object(
        "Where each post stands now, and a signed checkpoint that covers them all.",
        entries={
            "type": "array",
            "minItems": 1,
            "items": _object(
                "Where one post stands.",
                index=INDEX,
                leaf_hash=HEX,
                replayed={
                    "type": "boolean",
                    "description": "Whether this ref was sealed before, with this statement.",
                },
                links=ref("Links"),
            ),
        },
        checkpoint=_NOTE,
    ),
    "RegisteredParty": _registered("party"),
    "RegisteredProgramme": _registered("programme"),
    "RegisteredFund": _registered("fund", **_TOTALS),
    "AsOf": _object(
        "The figures are those of the log up to this entry.",
        index=INDEX,
        size=SIZE | {"description": "How many entries were added up."},
        recorded_at={"type": "string", "format": "date-time"},
    ),
    "Figures": _object(
        "What funds of one currency received, and what became of it: docs/views.md.",
        currency=_CURRENCY,
        money=_object("Each less what came back.", **dict.fromkeys(Money._fields, _SUM)),
        cost=_object("What a cost cap is held to, rounded up.", **_SHARE),
        acknowledged=_object("Of what was disbursed, rounded down.", **_SHARE),
        not_received=_object("Of what was disbursed, rounded up.", **_SHARE),
        disputed=_object("Of what was disbursed, rounded up.", **_SHARE),
        hours_to_disbursement=_MEDIAN,
        hours_to_acknowledgement=_MEDIAN,
        unspent=_object(
            "How long unspent money has been there, at `as_of.recorded_at`.",
            age_hours=_MEDIAN,
            by_age=_many(
                _object(
                    "Money of this age; `to_days` is exclusive, and null for the oldest.",
                    from_days=INDEX,
                    to_days=INDEX | {"type": ["integer", "null"]},
                    amount=_SUM,
                )
            ),
        ),
        inflow=_many(_object("By kind of giver, the most first.", kind=TEXT, **_SHARE)),
        funds=_many(
            _object(
                "A fund that is counted, and the entries that prove what was.",
                fund=PARTY,
                owner=PARTY,
                index=INDEX | {"description": "The entry of its current statement."},
                totals_index=INDEX
                | {"type": ["integer", "null"], "description": "Of its last totals."},
                cost_share_bp=_BASIS_POINTS,
                cost_cap_bp=_BASIS_POINTS | {"description": "Null where it has none."},
            )
        ),
    ),
    "PartyView": _viewed(
        "A party, and the figures of the funds that it owns, for each currency.",
        "party",
        _many(ref("Figures")),
    ),
    "ProgrammeView": _viewed(
        "A programme, and the figures of its funds, for each currency.",
        "programme",
        _many(ref("Figures")),
    ),
    "FundView": _viewed(
        "A fund and its figures; null while `as_of` is before its first statement.",
        "fund",
        {"anyOf": [ref("Figures"), {"type": "null"}]},
        **_TOTALS,
    ),
    "Trace": _object(
        "The money of one entry in its order, cut into steps that each ended (or began) together.",
        index=INDEX,
        question={"enum": ["where_it_went", "whose_it_was"]},
        currency=_CURRENCY,
        amount=_SUM | {"description": "All that is traced; of a donation, less its fees."},
        steps=_many(
            _object(
                "A part of the money.",
                amount=_SUM,
                ended={
                    "enum": ["donation", "disbursement", "refund", "unspent", "hops"],
                    "description": "How it ended, or whose it was; `hops`: it went on from here.",
                },
                fund=PARTY,
                entry=INDEX
                | {
                    "type": ["integer", "null"],
                    "description": "With which entry it ended; null while unspent in `fund`.",
                },
                path=_many(INDEX) | {"description": "By which entries it got there, in order."},
            )
        ),
        next={
            "type": ["string", "null"],
            "description": "The `after` of the next page; null on the last one.",
        },
        as_of=ref("AsOf"),
    ),
    "Graph": _object(
        "Organisations, and the money that went from one to another.",
        programme=PARTY,
        nodes=_many(
            _object(
                "`party/<id>`, `donors/<kind>`, or `groups/all`.",
                id=TEXT,
                kind=TEXT | {"description": "Of the organisation; else `donors` or `groups`."},
            )
        ),
        edges=_many(
            _object(
                "Less what came back.",
                source=TEXT,
                target=TEXT,
                how={"enum": ["donation", "transfer", "disbursement"]},
                currency=_CURRENCY,
                amount=_SUM,
            )
        ),
        edges_total=INDEX,
        as_of=ref("AsOf"),
    ),
    "PartiesPage": _page("Parties in order of id.", "parties", ref("RegisteredParty"), PARTY),
    "ProgrammesPage": _page(
        "Programmes in order of id.", "programmes", ref("RegisteredProgramme"), PARTY
    ),
    "FundsPage": _page("Funds in order of id.", "funds", ref("RegisteredFund"), PARTY),
    "InclusionProof": _object(
        "RFC 6962: `leaf_hash` stands at `index` in the tree of `size` entries with `root`.",
        index=INDEX,
        size=SIZE,
        leaf_hash=HEX,
        proof=HEXES | {"description": "From the leaf's sibling upward."},
        root=HEX,
    ),
    "ConsistencyProof": _object(
        "RFC 6962: the tree of `to` entries begins with that of `from` entries.",
        **{"from": SIZE, "to": SIZE, "proof": HEXES, "root_from": HEX, "root_to": HEX},
    ),
    "Ledger": _object(
        "What this ledger is, how far it is, and what it takes.",
        format={"type": "string", "const": "amanah/1"},
        origin=TEXT,
        operator=TEXT,
        vkeys={"type": "array", "items": TEXT, "minItems": 1, "description": "Newest first."},
        size=SIZE | {"description": "How many entries there are."},
        published_size=SIZE | {"description": "How many of them /checkpoint covers."},
        limits={"type": "object", "additionalProperties": SIZE},
        currencies={
            "type": "object",
            "description": "ISO 4217 code: how many decimals its amounts may have.",
            "additionalProperties": whole(most=4),
        },
    ),
    "Root": _object("Where to go.", ledger=TEXT, links={"type": "array", "items": TEXT}),
    "Health": _object("The process answers.", status={"type": "string", "const": "ok"}),
    "Readiness": _object(
        "The next post would be sealed.", status={"type": "string", "const": "ready"}, size=SIZE
    ),
    "Problem": _object(
        "What was wrong (RFC 9457). Programs look at `code`; `detail` is for people.",
        "errors",
        "index",
        type={
            "type": "string",
            "format": "uri-reference",
            "description": "A page that explains the code and what to do.",
        },
        title=TEXT,
        status={"type": "integer", "minimum": 400, "maximum": 599},
        code={"type": "string", "enum": list(MEANINGS)},
        detail=TEXT | {"minLength": 1},
        request_id={"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
        errors={
            "type": "array",
            "items": _object(
                "One thing that is wrong, and where.",
                pointer=TEXT | {"description": "RFC 6901, from the top of the request body."},
                detail=TEXT,
            ),
        },
        index=INDEX | {"description": "With `ref_conflict`: the entry that has this ref."},
    ),
}

"""What each route takes and answers. Its summary is the docstring of its view.

Keyed by the view's endpoint. document.py walks the routes of the application and looks here, so
a route that is missing here fails, and nothing is in the document that is not served.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ledger.answering import PAGE_DEFAULT, PAGE_MAX
from ledger.batches import BATCH_MAX, BODY_BYTES_MAX
from ledger.errors import REFUSALS
from openapi.answers import INDEX, PARTY, SIZE, TEXT, TOTAL, ref
from openapi.fields import Json, whole
from openapi.story import GIFT, Ask, body

JSON, PLAIN, BYTES = "application/json", "text/plain; charset=utf-8", "application/octet-stream"
HTML, CSS, SCRIPT = (
    "text/html; charset=utf-8",
    "text/css; charset=utf-8",
    "text/javascript; charset=utf-8",
)
BINARY: Json = {}  # in OpenAPI 3.1, bytes have no schema


class Operation(NamedTuple):
    """media: media type -> schema of the answer when all is well.

    statuses: of that answer. headers: names of components it carries. problems: error codes
    besides `internal`. asks: what is really asked for the examples.
    """

    tag: str
    media: dict[str, Json]
    asks: Sequence[Ask] = ()
    parameters: Sequence[Json] = ()
    problems: Sequence[str] = ()
    headers: Sequence[str] = ()
    statuses: dict[int, str] = {200: "As described above."}  # noqa: RUF012 - never changed
    description: str = ""
    body: Json | None = None


def _query(
    name: str, schema: Json, description: str, example: str | int = "", **more: bool
) -> Json:
    found = {"name": name, "in": "query", "description": description, "schema": schema, **more}
    return found | ({"example": example} if example != "" else {})


def _path(name: str, schema: Json, description: str, example: str | int) -> Json:
    shape = {"name": name, "in": "path", "required": True, "schema": schema}
    return shape | {"description": description, "example": example}


_LIMIT = _query(
    "limit", whole(1, PAGE_MAX) | {"default": PAGE_DEFAULT}, "The most that are answered."
)
_AFTER_ID = _query("after", TEXT, "An id, exclusive: the page begins behind it.")
_INDEX = _path("index", INDEX, "An entry's place in the log, from 0.", 27)
# Any text may be asked for; what nothing has finds nothing.
_FILTERS = [
    _query("fund", TEXT, "Entries that name this fund, or whose totals are of it.", "gizi-anak"),
    _query("type", TEXT, "Entries of this type of statement."),
    _query("party", TEXT, "Entries that name this party."),
    _query("programme", TEXT, "Entries that name this programme."),
    _query("platform", TEXT, "Entries that this platform posted."),
    _query("ref", TEXT, "The entry with this ref. Needs `platform`."),
]


def _registered(name: str, kind: str, example: str) -> tuple[Operation, Operation]:
    """Of all parties (programmes, funds), and of one."""
    one, many = f"{kind.capitalize()}View", f"{name.capitalize()}Page"
    return Operation(
        "what is registered",
        {JSON: ref(many)},
        [Ask(f"/v1/{name}?limit=1"), Ask(f"/v1/{name}?limit=0", 400)],
        [_AFTER_ID, _LIMIT],
        ["invalid_query"],
        ["Link"],
    ), Operation(
        "what is registered",
        {JSON: ref(one)},
        [Ask(f"/v1/{name}/{example}"), Ask(f"/v1/{name}/nobody", 404)],
        [_path("item_id", PARTY, f"The id of a {kind}.", example)],
        ["not_found"],
    )


_PARTIES, _PARTY = _registered("parties", "party", "yayasan-gizi")
_PROGRAMMES, _PROGRAMME = _registered("programmes", "programme", "bebas-stunting")
_FUNDS, _FUND = _registered("funds", "fund", "gizi-anak")

_POST_CODES = [*REFUSALS, *"unauthorized insufficient_scope too_large".split()]
_POST_CODES += "unsupported_media_type clock rolled_back setup unavailable".split()
_POST = Operation(
    "posting",
    {JSON: ref("Posted")},
    [
        Ask("/v1/entries", 201, body=body(GIFT), key="write"),
        Ask("/v1/entries", 200, body=body(GIFT), key="write"),
        Ask("/v1/entries", 400, body=b'{"statement": {"amount": 5.5}}', key="write"),
        Ask("/v1/entries", 401, body=body(GIFT), key="unknown"),
        Ask("/v1/entries", 403, body=body(GIFT), key="read"),
        Ask("/v1/entries", 403, body=body(GIFT | {"ref": "a", "fund": "dana-desa"}), key="write"),
        Ask("/v1/entries", 409, body=body(GIFT | {"amount": "5"}), key="write"),
        Ask("/v1/entries", 413, body=b" " * (BODY_BYTES_MAX + 1), key="write"),
        Ask("/v1/entries", 415, body=body(GIFT), key="write", media_type="text/plain"),
        Ask("/v1/entries", 422, body=body(GIFT | {"ref": "a", "amount": 50000}), key="write"),
        Ask(
            "/v1/entries",
            422,
            body=body(GIFT | {"ref": "a"}, GIFT | {"ref": "b", "fund": "gizi", "tip": "5"}),
            key="write",
        ),
        Ask("/v1/entries", 422, body=body(GIFT | {"ref": "a", "fund": "gizi"}), key="write"),
        Ask("/v1/entries", 503, body=body(GIFT | {"ref": "a"}), key="write", clock_s=-60),
    ],
    problems=_POST_CODES,
    statuses={201: "At least one post was sealed.", 200: "All were replays: nothing is new."},
    description=f"One post, or a batch of 1 to {BATCH_MAX:,} that is sealed whole or not at all; "
    f"at most {BODY_BYTES_MAX >> 20} MiB. The answer comes when it is on disk, and its checkpoint "
    "covers it. Sending again is always safe: a `ref` that was sealed is answered with its first "
    "entry. After a timeout or a 503, send the same bytes again. One acknowledgement alone needs "
    "no API key when the party it is `by` has signed it, for itself as the platform.",
    body=ref("Submission"),
)

OPERATIONS: dict[str, Operation] = {
    "api.post_entries": _POST,
    "api.get_entries": Operation(
        "reading",
        {JSON: ref("EntriesPage")},
        [
            Ask("/v1/entries?fund=dana-desa&order=desc&limit=1"),
            Ask("/v1/entries?limit=1001", 400),
        ],
        [
            _query(
                "order", {"enum": ["asc", "desc"], "default": "asc"}, "Oldest first, or newest."
            ),
            _query("after", INDEX, "An index, exclusive; with `desc`, the entries below it."),
            _LIMIT,
            *_FILTERS,
        ],
        ["invalid_query"],
        ["Link"],
        description="Several filters must all apply. Each parameter may be given once.",
    ),
    "api.get_entry": Operation(
        "reading",
        {JSON: ref("EntryDocument"), BYTES: BINARY},
        [Ask("/v1/entries/27"), Ask("/v1/entries/9999", 404)],
        [_INDEX],
        ["not_found"],
        ["ETag"],
        {200: "The entry.", 304: "It is the one that `If-None-Match` names."},
    ),
    "api.get_receipt": Operation(
        "reading",
        {PLAIN: TEXT, JSON: ref("Receipt")},
        [
            Ask("/v1/entries/27/receipt"),
            Ask("/v1/entries/27/receipt", accept="text/plain"),
            Ask("/v1/entries/9999/receipt", 404),
        ],
        [_INDEX],
        ["not_found"],
        ["Content-Disposition"],
    ),
    "views.get_parties": _PARTIES,
    "views.get_party": _PARTY,
    "views.get_programmes": _PROGRAMMES,
    "views.get_programme": _PROGRAMME,
    "views.get_trace": Operation(
        "reading",
        {JSON: ref("Trace")},
        [
            Ask("/v1/entries/27/trace?limit=2"),
            Ask("/v1/entries/27/trace?after=5.5.5", 400),
            Ask("/v1/entries/9999/trace", 404),
        ],
        [
            _INDEX,
            _query("after", TOTAL, "An amount: that of `next` of the page before."),
            _LIMIT,
        ],
        ["invalid_query", "not_found"],
        ["Link"],
        description="Of a donation: where its money went. Of any other entry that moved money: "
        "whose it was. Through any number of funds and organisations, first in, first out.",
    ),
    "views.get_programme_graph": Operation(
        "what is registered",
        {JSON: ref("Graph")},
        [
            Ask("/v1/programmes/bebas-stunting/graph?limit=3"),
            Ask("/v1/programmes/bebas-stunting/graph?limit=0", 400),
            Ask("/v1/programmes/nobody/graph", 404),
        ],
        [_path("item_id", PARTY, "The id of a programme.", "bebas-stunting"), _LIMIT],
        ["invalid_query", "not_found"],
        description="The edges with the most money are shown, `limit` at most; `edges_total` says "
        "how many there are. docs/views.md defines them.",
    ),
    "views.get_funds": _FUNDS,
    "views.get_fund": _FUND,
    "api.get_inclusion": Operation(
        "proofs",
        {JSON: ref("InclusionProof")},
        [
            Ask("/v1/proofs/inclusion?index=2&size=5"),
            Ask("/v1/proofs/inclusion?index=5&size=5", 400),
            Ask("/v1/proofs/inclusion?index=5&size=9999", 404),
        ],
        [
            _query("index", INDEX, "The entry, below `size`.", 2, required=True),
            _query("size", SIZE, "How many entries the tree has.", 5, required=True),
        ],
        ["invalid_query", "not_found"],
    ),
    "api.get_consistency": Operation(
        "proofs",
        {JSON: ref("ConsistencyProof")},
        [
            Ask("/v1/proofs/consistency?from=5&to=8"),
            Ask("/v1/proofs/consistency?from=8&to=5", 400),
            Ask("/v1/proofs/consistency?from=5&to=9999", 404),
        ],
        [
            _query("from", SIZE, "The size of the old tree, at most `to`.", 5, required=True),
            _query("to", SIZE, "The size of the new tree.", 8, required=True),
        ],
        ["invalid_query", "not_found"],
    ),
    "api.get_ledger": Operation("the log", {JSON: ref("Ledger")}, [Ask("/v1/ledger")]),
    "api.get_checkpoint": Operation(
        "the log", {PLAIN: TEXT}, [Ask("/checkpoint", accept="text/plain")]
    ),
    "api.get_tile": Operation(
        "the log",
        {BYTES: BINARY},
        [Ask("/tile/0/001", 404)],
        [
            _path(
                "path",
                TEXT,
                "`<L>/<N>[.p/<W>]` for hashes, `entries/<N>[.p/<W>]` for entries, as C2SP "
                "tlog-tiles spells it; its slashes are not escaped.",
                "0/000.p/5",
            )
        ],
        ["not_found"],
        ["Content-Encoding"],
    ),
    "api.get_root": Operation("operations", {JSON: ref("Root")}, [Ask("/")]),
    "api.get_health": Operation("operations", {JSON: ref("Health")}, [Ask("/healthz")]),
    "api.get_readiness": Operation(
        "operations",
        {JSON: ref("Readiness")},
        [Ask("/readyz"), Ask("/readyz", 503, clock_s=-60)],
        problems="clock rolled_back setup unavailable".split(),
    ),
    "web.get_problems": Operation("pages", {PLAIN: TEXT, HTML: TEXT}),
    "web.get_problem": Operation(
        "pages",
        {PLAIN: TEXT, HTML: TEXT},
        [Ask("/problems/stale", accept="text/plain"), Ask("/problems/nothing", 404)],
        [_path("code", TEXT, "An error code.", "stale")],
        ["not_found"],
    ),
    "web.get_docs": Operation("pages", {HTML: TEXT}),
    "web.get_openapi": Operation(
        "pages",
        {JSON: {"type": "object"}},
        headers=["ETag", "Content-Encoding"],
        statuses={200: "The document.", 304: "It is the one that `If-None-Match` names."},
    ),
    "web.get_static": Operation(
        "pages",
        {CSS: TEXT, SCRIPT: TEXT, JSON: {}, PLAIN: TEXT},
        [Ask("/static/nothing", 404)],
        [_path("name", TEXT, "The file's path.", "page.css")],
        ["not_found"],
        ["ETag", "Content-Encoding"],
        {200: "The file.", 304: "It is the one that `If-None-Match` names."},
    ),
}

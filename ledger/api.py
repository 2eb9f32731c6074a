"""The REST API and the C2SP paths. Each view loads, calls and dumps; no rule lives here.

Entries are answered as the very bytes that were sealed, never re-encoded.
"""

from __future__ import annotations

import gzip
import json
from functools import lru_cache
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, request

from ledger.answering import (
    PAGE_MAX,
    TYPES,
    bad_query,
    bytes_answer,
    conditional,
    current_ledger,
    entry_json,
    json_answer,
    limit_of,
    links_of,
    one_of,
    path_index,
    prefers,
    query_of,
    whole,
)
from ledger.audit import prove_receipt
from ledger.batches import BATCH_MAX, BODY_BYTES_MAX
from ledger.disclosure import asked_for, digest
from ledger.entry import (
    ENTRY_BYTES_MAX,
    FORMAT,
    STATEMENT_BYTES_MAX,
    entry_hash,
)
from ledger.errors import (
    FormatError,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    TooLarge,
    UnsupportedMedia,
)
from ledger.post import Submission, keyless_platform, may_be_keyless, read_submission
from ledger.problems import Reply, json_body
from ledger.sequencer import Pending, Sealed
from ledger.service import WRITE, Ledger
from ledger.store.sqlite import ApiKey
from ledger.tlog.checkpoint import Checkpoint, open_checkpoint
from ledger.tlog.merkle import prove_consistency, prove_inclusion, root_at
from ledger.tlog.note import VerifierKey
from ledger.tlog.tile import parse_bundle_path, parse_tile_path

_FILTERS = ("fund", "type", "party", "programme", "platform")
_IMMUTABLE = "public, max-age=31536000, immutable"

bp = Blueprint("api", __name__)


def response_of(reply: Reply) -> Response:
    return Response(reply.body, reply.status, headers=list(reply.headers))


_SEND_A_KEY = "send an API key: `Authorization: Bearer amanah_...`"


# -- posting, in two halves, so that an event loop can wait in between (asgi.py)


def begin_post(ledger: Ledger, key: ApiKey | None, media_type: str, body: bytes) -> Pending:
    """Read a post up to where it must wait for the disk. Raises what refuses it.

    key: None for one without an API key, which an acknowledgement may be.
    """
    if key is None and not may_be_keyless(body):
        raise NotAuthenticated(_SEND_A_KEY)
    if media_type != "application/json":
        raise UnsupportedMedia("send the post as `Content-Type: application/json`")
    if len(body) > BODY_BYTES_MAX:
        raise TooLarge(f"a post has at most {BODY_BYTES_MAX} bytes; send several")
    submission = read_submission(body, ledger.currencies, ledger.now())
    if key is not None:
        return ledger.pending(key.platform, submission)
    pending = ledger.pending(_by_itself(submission), submission)
    # Whoever needs no key must not cost those who have one the time under the lock.
    ledger.sequencer.try_alone(pending)
    return pending


def end_post(sealed: Sealed) -> Reply:
    """The answer to a post that is on disk."""
    entries = [
        {
            "index": entry.index,
            "leaf_hash": entry.leaf_hash.hex(),
            "replayed": entry.replayed,
            "links": links_of(entry.index),
        }
        for entry in sealed.entries
    ]
    body = json_body({"entries": entries, "checkpoint": sealed.checkpoint.decode()})
    headers = (("Content-Type", TYPES["json"]), ("Cache-Control", "no-store"))
    return Reply(200 if sealed.all_replayed else 201, headers, body)


def _by_itself(submission: Submission) -> str:
    """Whose acknowledgement is posted without an API key, so that no platform can keep it back."""
    if submission.refusal is not None:
        raise submission.refusal
    by = keyless_platform(submission)
    if by is None:
        raise NotAuthenticated(
            "without an API key, one acknowledgement alone is taken, signed by the party it is by"
        )
    return by


def key_of_post(ledger: Ledger, authorization: str) -> ApiKey | None:
    """The API key that a post is sent with, if it may post; None when it is sent without any."""
    if not authorization:
        return None
    kind, _, secret = authorization.partition(" ")
    if kind != "Bearer" or not secret:
        raise NotAuthenticated(_SEND_A_KEY)
    key = ledger.authenticate(secret)
    if WRITE not in key.scopes:
        raise NotPermitted(f"the API key {key.key_id} lacks the scope {WRITE!r}")
    return key


@bp.post("/v1/entries")
def post_entries() -> Response:
    """Seal one statement or an atomic batch; the answer is already under a signed checkpoint."""
    ledger = current_ledger()
    key = key_of_post(ledger, request.headers.get("Authorization", ""))
    pending = begin_post(ledger, key, request.mimetype, request.get_data(cache=False))
    return response_of(end_post(ledger.sequencer.append(pending)))


# -- entries


@bp.get("/v1/entries")
def get_entries() -> Response:
    """Entries in order, filtered and paged."""
    query = query_of("order", "after", "limit", "ref", *_FILTERS)
    newest_first = one_of(query, "order", ("asc", "desc")) == "desc"
    after = whole(query, "after") if "after" in query else None
    limit = limit_of(query)
    terms = [(name, query[name]) for name in _FILTERS if name in query]
    store = current_ledger().store
    if "ref" in query:
        found = _by_ref(query, terms, after, newest_first)
    else:
        found = store.find(terms, after, limit + 1, newest_first)
    more = len(found) > limit
    found = found[:limit]
    entries = b",".join(entry_json(data) for _, data in found)
    last = str(found[-1][0]) if more else "null"
    response = bytes_answer(b'{"entries":[' + entries + b'],"next":' + last.encode() + b"}", "json")
    if more:
        following = urlencode({**query, "after": last})
        response.headers["Link"] = f'</v1/entries?{following}>; rel="next"'
    return response


def _by_ref(
    query: dict[str, str], terms: list[tuple[str, str]], after: int | None, newest_first: bool
) -> list[tuple[int, bytes]]:
    """The one entry of a platform's ref, if the other filters let it pass."""
    if "platform" not in query:
        bad_query("ref", "a ref is unique per platform; name the `platform` too")
    store = current_ledger().store
    index = store.index_of_ref(query["platform"], query["ref"])
    if index is None or (
        after is not None and (index >= after if newest_first else index <= after)
    ):
        return []
    return [item for item in store.find(terms, index - 1, 1, False) if item[0] == index]


@bp.get("/v1/entries/<index>")
def get_entry(index: str) -> Response:
    """One entry; its exact bytes for `Accept: application/octet-stream`."""
    data = current_ledger().store.entry_bytes(path_index(index))
    tag = entry_hash(data).hex()
    if prefers("application/json", "application/octet-stream") == "application/octet-stream":
        response = bytes_answer(data, "octet-stream")
    else:
        beside = json_body(_beside(int(index), data) | {"links": links_of(int(index))})
        response = bytes_answer(entry_json(data)[:-1] + b"," + beside[1:], "json")
        tag += f"-{sha256(beside).hexdigest()[:16]}"  # an erasure changes what is beside
    response.vary.add("Accept")
    # The two forms share an address, so their tags must differ.
    response.set_etag(f"{tag}-{response.mimetype}")
    return conditional(response)


def _beside(index: int, entry_bytes: bytes) -> dict[str, Any]:
    """What is kept beside an entry: texts that are what was sealed, or that they were erased."""
    disclosure, erasure = current_ledger().store.beside(index)
    if erasure is not None:
        erased = {"at": erasure.erased_at, "reason": erasure.reason}
        return {"disclosures": [], "erased": erased}
    if disclosure is None:
        return {"disclosures": []}
    asked = asked_for(json.loads(entry_bytes)["statement"])
    return {"disclosures": [disclosure] if digest(disclosure) in asked else []}


@bp.get("/v1/entries/<index>/receipt")
def get_receipt(index: str) -> Response:
    """The proof that an entry is in the log: a .tlog-proof, or JSON when asked for."""
    ledger, number = current_ledger(), path_index(index)
    data = ledger.store.entry_bytes(number)
    note = ledger.store.checkpoint()
    checkpoint = _published(note, ledger.vkeys[0])
    nodes = ledger.store.nodes(checkpoint.size)
    proof = prove_receipt(data, number, note, checkpoint.size, nodes.node)
    if prefers("text/plain", "application/json") == "text/plain":
        response = bytes_answer(proof.format(), "plain")
        name = f"{number}.tlog-proof"
        response.headers["Content-Disposition"] = f'inline; filename="{name}"'
    else:
        rest = {
            "index": number,
            "size": checkpoint.size,
            "proof": [hash_.hex() for hash_ in proof.hashes],
            "root": checkpoint.root.hex(),
            "checkpoint": note.decode(),
            "witnessed": False,
        }
        response = bytes_answer(
            entry_json(data)[:-1] + b"," + json.dumps(rest).encode()[1:], "json"
        )
    response.vary.add("Accept")
    return response


# -- proofs


@bp.get("/v1/proofs/inclusion")
def get_inclusion() -> Response:
    """RFC 6962 inclusion proof of `index` in the tree of the first `size` entries."""
    query = query_of("index", "size")
    index, size = whole(query, "index"), _tree_size(query, "size")
    if index >= size:
        bad_query("index", f"{index} is outside a tree of {size}")
    ledger = current_ledger()
    nodes = ledger.store.nodes(size)
    return json_answer(
        {
            "index": index,
            "size": size,
            "leaf_hash": nodes.node(0, index).hex(),
            "proof": [hash_.hex() for hash_ in prove_inclusion(index, size, nodes.node)],
            "root": root_at(size, nodes.node).hex(),
        }
    )


@bp.get("/v1/proofs/consistency")
def get_consistency() -> Response:
    """RFC 6962 consistency proof between the trees of the first `from` and `to` entries."""
    query = query_of("from", "to")
    old, new = _tree_size(query, "from"), _tree_size(query, "to")
    if old > new:
        bad_query("from", f"{old} is larger than `to`, {new}")
    nodes = current_ledger().store.nodes(new)
    return json_answer(
        {
            "from": old,
            "to": new,
            "proof": [hash_.hex() for hash_ in prove_consistency(old, new, nodes.node)],
            "root_from": root_at(old, nodes.node).hex(),
            "root_to": root_at(new, nodes.node).hex(),
        }
    )


def _tree_size(query: dict[str, str], name: str) -> int:
    size = whole(query, name)
    if size == 0:
        bad_query(name, "the empty tree proves nothing; sizes begin at 1")
    if size > (held := current_ledger().store.size()):
        raise NotFound(f"{name}={size}: the ledger holds {held} entries so far")
    return size


# -- the ledger and its tiles (C2SP tlog-tiles)


@bp.get("/v1/ledger")
def get_ledger() -> Response:
    """What this ledger is, how far it is, and what it takes."""
    ledger = current_ledger()
    published = _published(ledger.store.checkpoint(), ledger.vkeys[0])
    return json_answer(
        {
            "format": FORMAT,
            "origin": ledger.origin,
            "operator": ledger.operator,
            "vkeys": [str(key) for key in ledger.vkeys],
            "size": ledger.store.size(),
            "published_size": published.size,
            "limits": {
                "batch": BATCH_MAX,
                "body_bytes": BODY_BYTES_MAX,
                "statement_bytes": STATEMENT_BYTES_MAX,
                "entry_bytes": ENTRY_BYTES_MAX,
                "page": PAGE_MAX,
            },
            "currencies": dict(ledger.currencies),
        }
    )


@bp.get("/checkpoint")
def get_checkpoint() -> Response:
    """The newest published checkpoint, a signed note."""
    return bytes_answer(current_ledger().store.checkpoint(), "plain")


@bp.get("/tile/<path:path>")
def get_tile(path: str) -> Response:
    """A tile of hashes or a bundle of entries, in any width the tree has reached."""
    whole = f"tile/{path}"
    store = current_ledger().store
    try:
        if path.startswith("entries/"):
            response = _compressed(store.bundle(*parse_bundle_path(whole)))
        else:
            response = bytes_answer(store.tile(parse_tile_path(whole)), "octet-stream")
    except FormatError as error:
        raise NotFound(str(error)) from error
    response.headers["Cache-Control"] = _IMMUTABLE
    return response


@lru_cache(maxsize=8)
def _published(note: bytes, log_key: VerifierKey) -> Checkpoint:
    """A checkpoint of ours, opened; every receipt asks for the newest."""
    return open_checkpoint(note, log_key)


@lru_cache(maxsize=64)
def _gzipped(bundle: bytes) -> bytes:
    return gzip.compress(bundle, 1, mtime=0)


def _compressed(bundle: bytes) -> Response:
    if request.accept_encodings.quality("gzip") > 0:
        response = bytes_answer(_gzipped(bundle), "octet-stream")
        response.headers["Content-Encoding"] = "gzip"
    else:
        response = bytes_answer(bundle, "octet-stream")
    response.vary.add("Accept-Encoding")
    return response


# -- operations


@bp.get("/")
def get_root() -> Response:
    """Where to go from here."""
    names = ("/v1/ledger", "/v1/entries", "/v1/funds", "/v1/programmes", "/v1/parties")
    links = [*names, "/checkpoint", "/docs", "/openapi.json"]
    return json_answer({"ledger": current_ledger().origin, "links": links})


@bp.get("/healthz")
def get_health() -> Response:
    """The process answers."""
    return json_answer({"status": "ok"})


@bp.get("/readyz")
def get_readiness() -> Response:
    """The next post would be sealed; else 503, saying why not."""
    ledger = current_ledger()
    ledger.sequencer.check()
    return json_answer({"status": "ready", "size": ledger.store.size()})

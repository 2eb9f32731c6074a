"""Errors as HTTP: one table of statuses, one shape of problem document (RFC 9457).

Pure: whoever serves (Flask in app.py, the event loop in asgi.py) turns a Reply into its own
kind of response.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from ledger.errors import (
    REFUSALS,
    FormatError,
    LedgerError,
    RateLimited,
    RefConflict,
    Refusal,
)

# code -> HTTP status; every Refusal that is not listed is 422.
STATUSES = {
    "malformed": 400,
    "http_error": 400,
    "invalid_query": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "insufficient_scope": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "request_timeout": 408,
    "ref_conflict": 409,
    "stale": 409,
    "key_taken": 409,
    "too_large": 413,
    "unsupported_media_type": 415,
    "rate_limited": 429,
    "internal": 500,
    "clock": 503,
    "overloaded": 503,
    "rolled_back": 503,
    "setup": 503,  # such as a damaged high-water file: for the operator to mend
    "unavailable": 503,
}
_REFUSED = 422
# code -> what it means, for the page that a problem's `type` leads to.
MEANINGS = REFUSALS | {
    "unauthorized": "No API key was sent, or one that this ledger does not know or has revoked.",
    "insufficient_scope": "The API key is good but may not do this.",
    "not_found": "Nothing stands at this index, size, id or path.",
    "method_not_allowed": "This path does not take this method; see the Allow header.",
    "too_large": "The request is larger than this ledger reads.",
    "unsupported_media_type": "The body is not declared as application/json.",
    "invalid_query": "A query parameter is unknown, repeated or not spelled as it must be.",
    "request_timeout": "The request came too slowly, and its connection was closed.",
    "rate_limited": "This API key or address asked for more than its share of the last minute.",
    "overloaded": "More is asked of the ledger at once than it takes in; nothing was read.",
    "http_error": "The request is not one that HTTP servers answer.",
    "clock": "The ledger's clock cannot be trusted to date an entry; its operator must look.",
    "rolled_back": "The ledger's database is older than what was handed out; sealing has stopped.",
    "setup": "A file of the ledger is missing or damaged; its operator must look.",
    "unavailable": "The ledger is busy, or the outcome is not known: send the same post again.",
    "internal": "An error of ours. The request id finds it in the log.",
}
# code -> what whoever meets it can do; each key of MEANINGS has one.
ADVICE = {
    "malformed": "Send one JSON document in UTF-8. Every key may stand once in its object, numbers "
    'are whole and at most 2^53 - 1, and there is no null. Write amounts as text: "150000.50".',
    "invalid": "Look at `errors`: each pointer leads to a field, and its detail says what is "
    "expected there. Correct the statement and send it again with the same ref.",
    "invalid_amount": 'Write the amount as text in whole units of the currency, such as "150000" '
    'or "150000.50": no sign, no thousands separators, no more decimals than the currency has.',
    "not_supported": "Leave the field out, or wait for a version that enforces it. Nothing is "
    "sealed that is not checked.",
    "unknown_currency": "Use an ISO 4217 code in capitals that /v1/ledger lists in `currencies`.",
    "personal_data_suspected": "Take names, e-mail addresses, telephone, identity and card numbers "
    "out of the text that the pointer names; everything here is public for ever. If an order "
    "number was taken for one of them, use a random ref such as a UUID.",
    "duplicate_ref": "Give each statement of the batch a ref of its own.",
    "ref_conflict": "Look at the entry whose `index` is named. If it is what you meant, you are "
    "done. If this is another statement, give it a new ref. To correct what was sealed, post a "
    "refund or a return, or supersede it.",
    "unknown_reference": "Post the party, programme, fund or entry that the pointer names first, "
    "or in front of this statement in the same batch. Look for a misspelled id.",
    "wrong_target": "Name the index of a donation in a refund, and of a disbursement or transfer "
    "in a return.",
    "self_transfer": "Name another fund in `from_fund` or `to_fund`.",
    "forbidden": "Let the platform post it that has the right: for money, one of the fund's "
    "`platforms`; for a new version of a registration, the platform that registered it first.",
    "fund_closed": "Use another fund, or let the fund's platform supersede it with the status "
    "open. Refunds and returns are taken by closed funds too.",
    "stale": "Get the current statement, and name its `index` in `supersedes`. A first statement "
    "has no `supersedes`.",
    "immutable_field": "Keep the field as it was. For another currency, make another fund.",
    "key_taken": "Make a fresh key for each party, and register that one: a public key belongs for "
    "ever to the party that first had it.",
    "currency_mismatch": "Post the amount in the currency of the fund; between two funds the "
    "currencies must be the same.",
    "cap_loosened": "Keep the cost cap or make it tighter. Money of a capped fund can go only into "
    "funds with a cap at least as tight.",
    "fees_exceed_amount": "Check the fees: together they are at most the amount.",
    "exceeds_original": "Look at the target and at what was refunded or returned of it before; "
    "take back at most the rest.",
    "insufficient_funds": "Look at the fund's `balance`. Post the donations that came in first, or "
    "a smaller amount.",
    "insufficient_stock": "Look at `goods` in the newest entry of this item. Post what came in "
    "first, or a smaller quantity; item and unit must be spelled as they were.",
    "cost_cap_exceeded": "Post a smaller cost, or wait for more donations. The fund promised its "
    "donors this cap.",
    "too_fragmented": "Post it in several smaller statements, each with a ref of its own.",
    "amount_too_large": "Check the amount for a slip of the decimal point. If it is right, use "
    "another fund.",
    "approval_required": "Let as many of the approvers sign as the fund's policy needs, and post "
    "the signatures with the statement. The posting platform is not counted among them.",
    "evidence_required": "Add `evidence`: the SHA-256, media type and size of a file.",
    "signature_invalid": "Sign again: with a current key of the party, over this very statement, "
    "for this ledger's origin and the platform that posts it (`amanah party sign`).",
    "signature_required": "Let the party that the detail names sign, and post its signature with "
    "the statement. If its keys are lost, nobody can sign in its name.",
    "unauthorized": "Send `Authorization: Bearer ` and your API key. Ask the operator of the "
    "ledger for a new key if it was revoked or lost.",
    "insufficient_scope": "Ask the operator of the ledger for a key that may post.",
    "not_found": "Check the address for a slip. An index or size may lie beyond the end of the "
    "ledger: /v1/ledger says how far it is.",
    "method_not_allowed": "Use one of the methods that the `Allow` header names.",
    "too_large": "Send at most 4 MiB at once: divide the batch.",
    "unsupported_media_type": "Send the header `Content-Type: application/json`.",
    "invalid_query": "Use each parameter that the detail names at most once. /docs lists them all.",
    "request_timeout": "Send the whole request within half a minute: a smaller batch, or over a "
    "faster line. Nothing was read.",
    "rate_limited": "Wait for the seconds in `Retry-After`; `RateLimit` says what is left. Post in "
    "batches, which count as one request, or ask the operator for a higher rate.",
    "overloaded": "Send the same again after the time in `Retry-After`. Post in batches, and over "
    "fewer connections.",
    "http_error": "Look at the request itself: its headers, its length, its address.",
    "clock": "Send the same post again later. The operator sets the clock right and restarts.",
    "rolled_back": "Keep your receipts and checkpoints. The operator must put the newest database "
    "back before anything is sealed again.",
    "setup": "Send the same post again later. The operator finds the reason in the detail.",
    "unavailable": "Send the same post again, byte for byte, after the time in `Retry-After`. What "
    "was sealed after all is answered with its first entry.",
    "internal": "Send the same post again. If it happens again, give the request id to the "
    "operator of the ledger.",
}
# On every answer; whoever serves a page sets a policy of its own that lets its parts load.
SECURITY_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
)
# On every answer to a GET. Everything readable is public: any page may fetch it and check it.
READER_HEADERS = (
    ("Access-Control-Allow-Origin", "*"),
    (
        "Access-Control-Expose-Headers",
        "ETag, Link, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id",
    ),
    ("Cross-Origin-Resource-Policy", "cross-origin"),
)
_RETRY_AFTER_S = 1


class Reply(NamedTuple):
    """What is answered, before anybody's response class. code: of a problem."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    code: str = ""

    def with_headers(self, headers: tuple[tuple[str, str], ...]) -> Reply:
        """The same with more headers."""
        return self._replace(headers=(*self.headers, *headers))


def json_body(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def status_of(code: str) -> int:
    """The HTTP status that answers with `code`."""
    return STATUSES.get(code, _REFUSED)


def is_ours(error: Exception) -> bool:
    """Whether an error is of our making, for the log and not for the client's eyes.

    What a request has wrong is a Refusal or in the table: a FormatError here is of bytes of
    ours, such as a damaged tile.
    """
    known = isinstance(error, Refusal) or getattr(error, "code", None) in STATUSES
    return isinstance(error, FormatError) or not (isinstance(error, LedgerError) and known)


def problem_of(error: Exception, request_id: str) -> Reply:
    """The problem document of an error."""
    if is_ours(error) or not isinstance(error, LedgerError):
        detail = "an error of ours; the request id finds it in the log"
        return problem(500, "internal", detail, request_id)
    extra: dict[str, Any] = {}
    if isinstance(error, Refusal) and error.faults:
        extra["errors"] = [{"pointer": f.pointer, "detail": f.detail} for f in error.faults]
    if isinstance(error, RefConflict):
        extra["index"] = error.index
    reply = problem(status_of(error.code), error.code, str(error), request_id, **extra)
    if isinstance(error, RateLimited):
        reply = reply.with_headers(error.headers)
    return reply


def problem(status: int, code: str, detail: str, request_id: str, **extra: Any) -> Reply:
    """A problem document; its `type` leads to a page that explains the code."""
    title = code.replace("_", " ")
    document = {"type": f"/problems/{code}", "title": title, "status": status, "code": code}
    document |= {"detail": detail, "request_id": request_id, **extra}
    headers = [("Content-Type", "application/problem+json"), ("Cache-Control", "no-store")]
    if status == 503:
        headers.append(("Retry-After", str(_RETRY_AFTER_S)))
    if status == 401:
        headers.append(("WWW-Authenticate", "Bearer"))
    return Reply(status, tuple(headers), json_body(document), code)

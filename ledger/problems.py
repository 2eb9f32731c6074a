"""Errors as HTTP: one table of statuses, one shape of problem document (RFC 9457).

Pure: whoever serves (Flask in app.py, the event loop in asgi.py) turns a Reply into its own
kind of response.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from ledger.errors import REFUSALS, FormatError, LedgerError, RefConflict, Refusal

# code -> HTTP status; every Refusal that is not listed is 422.
STATUSES = {
    "malformed": 400,
    "invalid_query": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "insufficient_scope": 403,
    "not_found": 404,
    "ref_conflict": 409,
    "stale": 409,
    "too_large": 413,
    "unsupported_media_type": 415,
    "clock": 503,
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
    "http_error": "The request is not one that HTTP servers answer.",
    "clock": "The ledger's clock cannot be trusted to date an entry; its operator must look.",
    "rolled_back": "The ledger's database is older than what was handed out; sealing has stopped.",
    "setup": "A file of the ledger is missing or damaged; its operator must look.",
    "unavailable": "The ledger is busy, or the outcome is not known: send the same post again.",
    "internal": "An error of ours. The request id finds it in the log.",
}
_RETRY_AFTER_S = 1


class Reply(NamedTuple):
    """What is answered, before anybody's response class."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def json_body(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


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
    status = STATUSES.get(error.code, _REFUSED)
    return problem(status, error.code, str(error), request_id, **extra)


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
    return Reply(status, tuple(headers), json_body(document))

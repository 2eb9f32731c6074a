"""`create_app`: what the service is made of, and the one place where errors become HTTP.

READ FIRST. A request goes api.py (load, call, dump) -> post.py (the door) -> sequencer.py (the
one writer, using books.py and chain.py) -> store/; errors of errors.py come back up here.
"""

from __future__ import annotations

import json
import re
import secrets
from typing import Any

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from ledger import api
from ledger.config import Config
from ledger.errors import FormatError, LedgerError, RefConflict, Refusal
from ledger.service import Ledger

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
_HTTP_CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}
_RETRY_AFTER_S = 1
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def create_app(config: Config | None = None) -> Flask:
    """The WSGI application of the ledger that `config`, or the environment, names."""
    config = config or Config.from_environment()
    app = Flask(__name__, static_folder=None)
    # One more than is taken: a body in chunks is cut off at this limit without a word, and
    # only its being too long can show that.
    app.config["MAX_CONTENT_LENGTH"] = api.BODY_BYTES_MAX + 1
    app.url_map.merge_slashes = False  # a tile has one path; nothing redirects to it
    app.extensions["amanah"] = Ledger.open(config.database)
    app.register_blueprint(api.bp)
    app.before_request(_name_request)
    app.after_request(_finish)
    app.register_error_handler(LedgerError, _ledger_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _internal_error)
    return app


def _name_request() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


def _finish(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.request_id
    response.headers["X-Content-Type-Options"] = "nosniff"
    if request.method in ("GET", "HEAD"):
        # Everything readable is public: any page may fetch it and check it.
        response.headers["Access-Control-Allow-Origin"] = "*"
        response.headers["Access-Control-Expose-Headers"] = "ETag, Link, X-Request-Id"
    return response


def _ledger_error(error: LedgerError) -> Response:
    status = STATUSES.get(error.code) or (_REFUSED if isinstance(error, Refusal) else 500)
    if status == 500 or isinstance(error, FormatError):
        # What a request has wrong is a Refusal: these are bytes of ours, such as a damaged tile.
        return _internal_error(error)
    extra: dict[str, Any] = {}
    if isinstance(error, Refusal) and error.faults:
        extra["errors"] = [{"pointer": f.pointer, "detail": f.detail} for f in error.faults]
    if isinstance(error, RefConflict):
        extra["index"] = error.index
    return _problem(status, error.code, str(error), extra)


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    code = _HTTP_CODES.get(status, "http_error")
    response = _problem(status, code, error.description or error.name, {})
    for name, value in error.get_headers():
        if name == "Allow":
            response.headers[name] = value
    return response


def _internal_error(error: Exception) -> Response:
    request.environ["wsgi.errors"].write(f"request {g.request_id}: {error!r}\n")
    return _problem(500, "internal", "an error of ours; the request id finds it in the log", {})


def _problem(status: int, code: str, detail: str, extra: dict[str, Any]) -> Response:
    """RFC 9457 problem details."""
    title = code.replace("_", " ")
    document = {"type": f"/problems/{code}", "title": title, "status": status, "code": code}
    document |= {"detail": detail, "request_id": g.request_id, **extra}
    data = json.dumps(document, ensure_ascii=False).encode()
    response = Response(data, status, content_type="application/problem+json")
    response.headers["Cache-Control"] = "no-store"
    if status == 503:
        response.headers["Retry-After"] = str(_RETRY_AFTER_S)
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response

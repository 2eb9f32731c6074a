"""`create_app`: what the service is made of, and the one place where errors become HTTP.

READ FIRST. A request goes api.py (load, call, dump) -> post.py (the door) -> sequencer.py (the
one writer, using books and chain.py) -> store/; errors of errors.py come back up here.
"""

from __future__ import annotations

import re
import secrets

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from ledger import api, api_views, logs, web
from ledger.batches import BODY_BYTES_MAX
from ledger.config import Config
from ledger.errors import NotFound
from ledger.problems import READER_HEADERS, SECURITY_HEADERS, is_ours, problem, problem_of
from ledger.service import Ledger

_HTTP_CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}
# What log and metrics ask afterwards: the pattern of the path, and the code of a problem.
ROUTE, CODE = "amanah.route", "amanah.code"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def create_app(config: Config | None = None) -> Flask:
    """The WSGI application of the ledger that `config`, or the environment, names."""
    config = config or Config.from_environment()
    app = Flask(__name__, static_folder=None)
    # One more than is taken: a body in chunks is cut off at this limit without a word, and
    # only its being too long can show that.
    app.config["MAX_CONTENT_LENGTH"] = BODY_BYTES_MAX + 1
    app.url_map.merge_slashes = False  # a tile has one path; nothing redirects to it
    app.extensions["amanah"] = Ledger.open(config.database)
    app.register_blueprint(api.bp)
    app.register_blueprint(api_views.bp)
    app.register_blueprint(web.bp)
    app.before_request(_name_request)
    app.after_request(_finish)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _error)
    return app


def request_id_of(given: str | None) -> str:
    """The id a client gave its request, if it may stand in a log, else a new one."""
    return given if given and _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


def _name_request() -> None:
    g.request_id = request_id_of(request.headers.get("X-Request-Id"))
    if request.environ["PATH_INFO"].startswith("//"):
        # werkzeug would take it for another spelling of the same path.
        raise NotFound("a path begins with one slash")


def _finish(response: Response) -> Response:
    if request.url_rule is not None:
        request.environ[ROUTE] = request.url_rule.rule
    response.headers["X-Request-Id"] = g.request_id
    response.headers.pop("Date", None)  # the server gives it; a conditional answer has one too
    for name, value in SECURITY_HEADERS:
        response.headers.setdefault(name, value)
    if request.method in ("GET", "HEAD"):
        for name, value in READER_HEADERS:
            response.headers[name] = value
    return response


def _error(error: Exception) -> Response:
    if is_ours(error):
        logs.failed(g.request_id, error)
    reply = problem_of(error, g.request_id)
    request.environ[CODE] = reply.code
    return api.response_of(reply)


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    code = _HTTP_CODES.get(status, "http_error")
    request.environ[CODE] = code
    response = api.response_of(problem(status, code, error.description or error.name, g.request_id))
    for name, value in error.get_headers():
        if name == "Allow":
            response.headers[name] = value
    return response

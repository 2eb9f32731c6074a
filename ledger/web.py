"""The pages for people: what each error code means, the API documentation, and their files.

No page asks anybody else for anything, and none but the API documentation runs a script.
"""

from __future__ import annotations

import gzip
import json
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from flask import Blueprint, Response, render_template, request

from ledger.errors import NotFound
from ledger.problems import ADVICE, MEANINGS, problem, status_of

_STATIC = Path(__file__).with_name("static")
_PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Swagger UI draws its icons from data: URLs, and its "Execute" calls this ledger.
_DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
}
_OTHER_TYPE = "text/plain; charset=utf-8"
_HTML = "text/html; charset=utf-8"

bp = Blueprint("web", __name__, template_folder="templates")


class File(NamedTuple):
    """A file of ours as it is served."""

    media_type: str
    tag: str
    data: bytes
    gzipped: bytes


# -- error codes


@bp.get("/problems")
def get_problems() -> Response:
    """Every error code with its HTTP status and what it means: a page, or plain text."""
    statuses = {code: status_of(code) for code in MEANINGS}
    if _wants_html():
        return _either(_page("problems.html", meanings=MEANINGS, statuses=statuses))
    lines = [f"{code} ({statuses[code]})\n  {meaning}\n" for code, meaning in MEANINGS.items()]
    return _either(_text("".join(lines)))


@bp.get("/problems/<code>")
def get_problem(code: str) -> Response:
    """What an error code means and what to do about it: a page, or plain text."""
    if code not in MEANINGS:
        raise NotFound(f"there is no error code {code[:40]!r}; /problems lists them all")
    meaning, advice, status = MEANINGS[code], ADVICE[code], status_of(code)
    if not _wants_html():
        text = f"{code} ({status})\n\n{meaning}\n\nWhat to do: {advice}\n\nAll: /problems\n"
        return _either(_text(text))
    example = json.loads(problem(status, code, meaning, "7c9e6679f3b1a04d").body)
    page = _page(
        "problem.html",
        code=code,
        meaning=meaning,
        advice=advice,
        status=status,
        example=json.dumps(example, indent=2),
    )
    return _either(page)


# -- the API documentation


@bp.get("/docs")
def get_docs() -> Response:
    """This document as a page to read and to try, by Swagger UI. It calls this ledger alone."""
    return _page("docs.html", policy=_DOCS_POLICY)


@bp.get("/openapi.json")
def get_openapi() -> Response:
    """This document: OpenAPI 3.1."""
    return _file("openapi.json")


@bp.get("/static/<path:name>")
def get_static(name: str) -> Response:
    """A style sheet or script of the pages."""
    return _file(name)


# -- what the views share


def _wants_html() -> bool:
    """Whether the client says it would rather have HTML, as browsers do and curl does not."""
    kinds = ("text/plain", "text/html")
    return request.accept_mimetypes.best_match(kinds, default="text/plain") == "text/html"


def _page(template: str, policy: str = _PAGE_POLICY, **values: Any) -> Response:
    response = Response(render_template(template, **values), content_type=_HTML)
    response.headers["Content-Security-Policy"] = policy
    response.headers["Cache-Control"] = "no-cache"
    return response


def _text(text: str) -> Response:
    return Response(text, content_type=_OTHER_TYPE, headers=[("Cache-Control", "no-cache")])


def _either(response: Response) -> Response:
    """One of two forms of the same address."""
    response.vary.add("Accept")
    return response


def _file(name: str) -> Response:
    file = _files().get(name)
    if file is None:
        raise NotFound(f"there is no file {name[:80]!r}")
    if request.accept_encodings.quality("gzip") > 0:
        response = Response(file.gzipped, content_type=file.media_type)
        response.headers["Content-Encoding"] = "gzip"
        response.set_etag(f"{file.tag}-gzip")
    else:
        response = Response(file.data, content_type=file.media_type)
        response.set_etag(file.tag)
    response.headers["Cache-Control"] = "no-cache"
    response.vary.add("Accept-Encoding")
    return response.make_conditional(request)  # type: ignore[return-value]  # werkzeug's own class


@lru_cache(maxsize=1)
def _files() -> dict[str, File]:
    """Every file under static/ by its path there. A name that is not a key leads nowhere."""
    paths = [path for path in _STATIC.rglob("*") if path.is_file()]
    return {path.relative_to(_STATIC).as_posix(): _read(path) for path in paths}


def _read(path: Path) -> File:
    data = path.read_bytes()
    media_type = _TYPES.get(path.suffix, _OTHER_TYPE)
    return File(media_type, sha256(data).hexdigest()[:32], data, gzip.compress(data, mtime=0))

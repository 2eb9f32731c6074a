"""The pages: what an error code means, the API documentation, and that nothing calls out."""

from __future__ import annotations

import gzip
import json
import re
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ledger import web
from ledger.problems import ADVICE, MEANINGS, STATUSES, status_of
from tests.shelf import Shelf
from tests.support import problem

STATIC = Path(web.__file__).with_name("static")
VENDORED = STATIC / "vendor"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
CODES = sorted({*MEANINGS, *STATUSES})


class Page(HTMLParser):
    """What a page loads and links to, what it says, and its headings."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.words = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), "no script within the page"
            assert name != "style", "the policy allows no style within the page"
            if name in ("href", "src") and value is not None:
                (self.links if tag == "a" else self.loads).append(value)

    def handle_data(self, data: str) -> None:
        self.words += data


def page_of(shelf: Shelf, path: str) -> Page:
    response = shelf.get(path, Accept=BROWSER)
    assert response.content_type == "text/html; charset=utf-8"
    html = response.get_data(as_text=True)
    assert html.startswith("<!doctype html>\n<html lang=")
    assert '<meta name="viewport"' in html
    return Page(html)


# -- error codes


@pytest.mark.parametrize("code", CODES)
def test_the_type_of_a_problem_is_a_page_that_explains_it(shelf: Shelf, code: str) -> None:
    page = page_of(shelf, f"/problems/{code}")
    said = " ".join(page.words.split())
    for text in (code, MEANINGS[code], ADVICE[code], str(status_of(code))):
        assert text in said
    assert page.tags.count("h1") == 1
    assert "script" not in page.tags
    assert "/problems" in page.links
    [example] = [json.loads(part) for part in re.findall(r"(?s)\{.*\}", page.words)]
    assert (example["code"], example["type"]) == (code, f"/problems/{code}")


@pytest.mark.parametrize("code", CODES)
def test_who_asks_for_no_page_gets_text(shelf: Shelf, code: str) -> None:
    for accept in ("*/*", "text/plain", "application/json"):
        response = shelf.get(f"/problems/{code}", Accept=accept)
        assert response.content_type == "text/plain; charset=utf-8"
        assert response.headers["Vary"] == "Accept"
        text = response.get_data(as_text=True)
        assert MEANINGS[code] in text
        assert ADVICE[code] in text


def test_every_code_says_what_to_do() -> None:
    assert ADVICE.keys() == MEANINGS.keys()


def test_one_page_lists_every_code(shelf: Shelf) -> None:
    page = page_of(shelf, "/problems")
    assert {f"/problems/{code}" for code in CODES} <= set(page.links)
    text = shelf.get("/problems").get_data(as_text=True)
    for code in CODES:
        assert MEANINGS[code] in page.words
        assert f"{code} ({status_of(code)})\n  {MEANINGS[code]}\n" in text


@pytest.mark.parametrize("code", ["nothing", "STALE", "stale%0a", "<b>", "x" * 5000])
def test_there_is_no_page_for_what_is_no_code(shelf: Shelf, code: str) -> None:
    document = problem(shelf.get(f"/problems/{code}", 404, Accept=BROWSER), 404, "not_found")
    assert len(document["detail"]) < 200


def test_everything_a_page_names_is_there(shelf: Shelf) -> None:
    for path in ("/problems", "/problems/stale", "/docs"):
        page = page_of(shelf, path)
        for target in [*page.loads, *page.links]:
            assert target.startswith(("/", "data:")), "nothing is asked of anybody else"
            if target.startswith("/"):
                shelf.get(target)


# -- files


def test_what_was_taken_from_others_is_unchanged() -> None:
    listed = {VENDORED / "vendor.json"}
    for package in json.loads((VENDORED / "vendor.json").read_text("utf-8")):
        assert package.keys() >= {"name", "version", "licence", "source"}
        for name, digest in package["sha256"].items():
            path = VENDORED / package["directory"] / name
            assert sha256(path.read_bytes()).hexdigest() == digest, path.name
            listed.add(path)
        assert "LICENSE" in package["sha256"]
    assert {path for path in VENDORED.rglob("*") if path.is_file()} == listed


FILES: list[tuple[str, str]] = [
    ("/openapi.json", "application/json"),
    ("/static/page.css", "text/css; charset=utf-8"),
    ("/static/docs.js", "text/javascript; charset=utf-8"),
    ("/static/vendor/swagger-ui/LICENSE", "text/plain; charset=utf-8"),
]


@pytest.mark.parametrize(("path", "media_type"), FILES)
def test_a_file_is_served_as_it_is_or_compressed(shelf: Shelf, path: str, media_type: str) -> None:
    data = (STATIC / path.removeprefix("/static").lstrip("/")).read_bytes()
    plain = shelf.get(path)
    smaller = shelf.get(path, Accept_Encoding="gzip")
    for response, found in ((plain, plain.data), (smaller, gzip.decompress(smaller.data))):
        assert response.content_type == media_type
        assert response.headers["Vary"] == "Accept-Encoding"
        assert found == data
        again = shelf.get(
            path,
            304,
            If_None_Match=response.headers["ETag"],
            Accept_Encoding=response.headers.get("Content-Encoding", "identity"),
        )
        assert again.data == b""
    assert plain.headers["ETag"] != smaller.headers["ETag"]


NO_FILES = """
/static/ /static/x /static/../web.py /static/%2e%2e/web.py /static//etc/passwd /static/vendor
/static/page.css/ /static/..%2fweb.py /static/page.css%00 /static/./page.css
""".split()


@pytest.mark.parametrize("path", NO_FILES)
def test_only_these_files_are_served(shelf: Shelf, path: str) -> None:
    problem(shelf.get(path, 404), 404, "not_found")


def test_the_policy_of_each_page_lets_in_what_it_needs_alone(shelf: Shelf) -> None:
    def policy(path: str) -> Any:
        header = shelf.get(path, Accept=BROWSER).headers["Content-Security-Policy"]
        return dict(part.split(" ", 1) for part in header.split("; "))

    assert "script-src" not in policy("/problems/stale")
    assert policy("/docs")["script-src"] == policy("/docs")["connect-src"] == "'self'"
    for path in ("/docs", "/problems"):
        assert policy(path)["default-src"] == "'none'"
        assert "unsafe" not in str(policy(path))
        assert not re.search(r"https?:|\*", str(policy(path)))

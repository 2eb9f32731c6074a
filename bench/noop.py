"""The yardstick over HTTP: a Flask application that reads a request, answers, and does no more."""

from __future__ import annotations

import json
from functools import lru_cache

from flask import Flask, Response, request

app = Flask(__name__)


@app.post("/v1/entries")
def post() -> Response:
    json.loads(request.get_data())
    return Response('{"ok":true}', 201, content_type="application/json")


@app.get("/ok")
def ok() -> Response:
    return Response('{"ok":true}', content_type="application/json")


@app.get("/bytes/<int:count>")
def some_bytes(count: int) -> Response:
    return Response(_zeros(count), content_type="application/octet-stream")


@lru_cache(maxsize=8)
def _zeros(count: int) -> bytes:
    return bytes(count)

"""The example of docs/example_platform as it runs, and the notifications it gets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha512
from pathlib import Path
from typing import Any, NamedTuple

import urllib3
from werkzeug.test import TestResponse

from amanah import Client
from docs.example_platform.payments import ref_of
from docs.example_platform.webhook import Settings
from tests.platforms.place import Place
from tests.support import HERE, PLATFORM

EXAMPLE = HERE.parent / "docs" / "example_platform"
SERVER_KEY, TOKEN, SECRET = "SB-Mid-server-example", "callback-token-example", "a secret"
PROGRAM = """
from werkzeug.serving import make_server
from docs.example_platform.webhook import create_app
server = make_server("127.0.0.1", 0, create_app(), threaded=True)
print(server.server_port, flush=True)
server.serve_forever()
"""

Notify = Callable[..., TestResponse]


def settings(place: Place, url: str, memory: Path, zone: str = "Asia/Jakarta") -> Settings:
    """Those of the example, which posts to the ledger at `url`."""
    ledger = (url, place.key, PLATFORM, place.vkey, str(memory))
    return Settings(*ledger, "air", SECRET, SERVER_KEY, TOKEN, zone)


def sample(name: str, **fields: Any) -> dict[str, Any]:
    """A notification of the samples with other fields; None takes one away."""
    notification = json.loads((EXAMPLE / "samples" / f"{name}.json").read_text("utf-8")) | fields
    return {field: value for field, value in notification.items() if value is not None}


def midtrans(order_id: str, **fields: Any) -> bytes:
    """A settlement, signed."""
    notification = sample("midtrans-settlement", order_id=order_id, **fields)
    return signed(notification)


def signed(notification: Mapping[str, Any]) -> bytes:
    covered = [str(notification.get(n, "")) for n in ("order_id", "status_code", "gross_amount")]
    key = sha512("".join([*covered, SERVER_KEY]).encode()).hexdigest()
    return json.dumps({**notification, "signature_key": key}).encode()


def xendit(order_id: str, **fields: Any) -> bytes:
    return json.dumps(sample("xendit-paid", external_id=order_id, **fields)).encode()


def booked(place: Place, order: str, service: str = "midtrans") -> Any:
    """The statement that is on the ledger for an order, if any, asked for behind any proxy."""
    client = Client(place.url, place.key, PLATFORM, vkey=place.vkey)
    proved = client.entry_of(ref_of(service, order, SECRET))
    return None if proved is None else proved.entry.statement


class Shop(NamedTuple):
    """The example, running in a process of its own."""

    url: str
    process: subprocess.Popen[str]

    def notify(self, body: bytes, service: str = "midtrans") -> tuple[int, Any]:
        """Status and JSON of the answer; (0, None) when there was none."""
        headers = {"Content-Type": "application/json", "x-callback-token": TOKEN}
        url = f"{self.url}/notifications/{service}"
        try:
            answer = urllib3.request(
                "POST", url, body=body, headers=headers, retries=False, timeout=60
            )
        except urllib3.exceptions.HTTPError:
            return 0, None
        return answer.status, answer.json()


@contextmanager
def open_shop(settings: Settings) -> Iterator[Shop]:
    plain = {k: v for k, v in os.environ.items() if not k.startswith("AMANAH_")}
    ours = {name.upper(): value for name, value in settings._asdict().items()}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=HERE.parent,
        env=plain | ours,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield Shop(f"http://127.0.0.1:{int(process.stdout.readline())}", process)
        finally:
            process.kill()

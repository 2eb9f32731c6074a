"""serve: whom it believes about where a request came from."""

from __future__ import annotations

import json
import socket
import subprocess
from contextlib import closing

import pytest
import urllib3

from tests.command_line import Amanah

CLAIMED = "203.0.113.9"


@pytest.mark.parametrize(
    ("told", "logged"), [({}, "127.0.0.1"), ({"FORWARDED_ALLOW_IPS": "127.0.0.1"}, CLAIMED)]
)
def test_a_forwarded_address_is_believed_only_when_told_from_whom(
    amanah: Amanah, told: dict[str, str], logged: str
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    log = amanah.database.with_name("serve.log")
    settings = {"GUNICORN_CMD_ARGS": "--access-logfile -", "AMANAH_METRICS_BIND": "off", **told}
    with log.open("wb") as output:
        process = subprocess.Popen(
            amanah.command("serve", "--port", port, "--workers", 1),
            env=amanah.environment(**settings),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        pool = urllib3.PoolManager(
            retries=urllib3.Retry(total=60, backoff_factor=0.05, backoff_max=0.25)
        )
        url = f"http://127.0.0.1:{port}/healthz"
        assert pool.request("GET", url, headers={"X-Forwarded-For": CLAIMED}).status == 200
    finally:
        process.terminate()
        process.wait(timeout=60)
    (line,) = [line for line in log.read_text().splitlines() if "GET /healthz" in line]
    assert json.loads(line)["event"].startswith(logged), line

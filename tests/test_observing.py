"""What operators see: a line for each request, and metrics of all processes at one address."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import urllib3
from prometheus_client.parser import text_string_to_metric_families

from ledger.config import Config
from ledger.errors import SetupError
from ledger.metrics import make_directory
from ledger.service import Ledger
from tests.command_line import ROOT
from tests.support import PLATFORM, Server, body_of, donation, fund, running_server
from tests.test_reload import wait_until, workers

SECRETS = ("amanah_", "Bearer", "secret-in", "Yayasan", "203.0.113", "127.0.0.1:")
FIELDS = {"event", "request_id", "method", "route", "status", "code", "key_id", "duration_ms",
          "level", "timestamp"}  # fmt: skip


@pytest.fixture
def key(ledger: Ledger) -> str:
    key = ledger.create_key(PLATFORM).key
    ledger.post(PLATFORM, [fund("air")])
    return key


def metrics_url(server: Server) -> str:
    (line,) = server.said("metrics")
    return f"http://{line['bind']}/metrics"


Samples = Counter[tuple[str, tuple[tuple[str, str], ...]]]


def scrape(server: Server) -> Samples:
    """(name, labels) -> value of everything that is told."""
    answer = urllib3.request("GET", metrics_url(server), retries=False)
    assert answer.status == 200
    found: Samples = Counter()
    for family in text_string_to_metric_families(answer.data.decode()):
        for sample in family.samples:
            found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value  # type: ignore[assignment]
    return found


def requests_counted(found: Samples) -> dict[tuple[str, str, str], int]:
    """(method, route, status) -> how often."""
    name = "amanah_request_seconds_count"
    counts = {dict(labels).values(): int(n) for (what, labels), n in found.items() if what == name}
    return {tuple(values): n for values, n in counts.items()}  # type: ignore[misc]


def once(server: Server, method: str, path: str, **more: str) -> int:
    """A request over a connection of its own, which any of the processes may take."""
    body = more.get("body")
    headers = {"Connection": "close", "X-Forwarded-For": "203.0.113.9"}
    return server.request(method, path, body, more.get("key"), headers).status


def test_each_request_is_a_line_and_says_nothing_personal(ledger: Ledger, key: str) -> None:
    with running_server(ledger.store.paths.database) as server:
        name = "Yayasan"
        once(server, "GET", "/v1/entries?platform=secret-in-query")
        once(server, "GET", "/secret-in-path")
        once(server, "POST", "/v1/entries", body=body_of(donation(ref="a")).decode(), key=key)
        once(server, "POST", "/v1/entries", body=json.dumps({"secret-in-body": name}), key=key)
        once(server, "POST", "/v1/entries", body="{}", key="amanah_secret-in-key")
        with socket.create_connection(address_of(server)) as client:
            client.sendall(b"secret-in-noise\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 400 ")
    key_id = ledger.store.keys()[0].key_id
    lines = server.said("request")
    assert [line.keys() for line in lines] == [FIELDS] * len(lines)
    seen = ("method", "route", "status", "code", "key_id")
    # In any order: two processes write.
    assert Counter(tuple(line[field] for field in seen) for line in lines) == Counter([
        ("GET", "/readyz", 200, "", ""),
        ("GET", "/v1/entries", 200, "", ""),
        ("GET", "", 404, "not_found", ""),
        ("POST", "/v1/entries", 201, "", key_id),
        ("POST", "/v1/entries", 422, "invalid", key_id),
        ("POST", "/v1/entries", 401, "unauthorized", ""),
    ])  # fmt: skip
    assert [line["code"] for line in server.said("connection")] == ["not_http"]
    assert server.said("Shutting down")  # gunicorn's and uvicorn's own lines, in the same form
    told = "".join(json.dumps(line) for line in (*lines, *server.said("connection")))
    assert [secret for secret in SECRETS if secret in told] == []
    assert "Invalid HTTP" not in server.log.read_text()


def address_of(server: Server) -> tuple[str, int]:
    address = urlsplit(server.url)
    return str(address.hostname), int(address.port or 0)


def test_every_process_is_counted_and_none_is_forgotten(ledger: Ledger, key: str) -> None:
    """Through a reload and a kill, exactly, but for requests that a killed process had."""
    with running_server(ledger.store.paths.database) as server:
        for turn in range(3):
            for i in range(20):
                body = body_of(donation(ref=f"{turn}-{i}")).decode()
                assert once(server, "POST", "/v1/entries", body=body, key=key) == 201
                assert once(server, "GET", f"/v1/entries/{i + 3}/receipt") == 200
                assert once(server, "GET", f"/v1/funds/{i}") == 404
            before = workers(server)
            if turn == 0:
                server.process.send_signal(signal.SIGHUP)
                wait_until(lambda gone=before: not gone & workers(server))  # type: ignore[misc]
            elif turn == 1:
                os.kill(next(iter(before)), signal.SIGKILL)
                wait_until(lambda gone=before: len(workers(server) - gone) == 1)  # type: ignore[misc]
        found = scrape(server)
        files = list(directories_of(server).pop().glob("*.db"))
        assert once(server, "GET", "/metrics") == 404
    counted = requests_counted(found)
    assert counted["POST", "/v1/entries", "201"] == 60
    assert counted["GET", "/v1/entries/<index>/receipt", "200"] == 60
    assert counted["GET", "/v1/funds/<item_id>", "404"] == 60
    assert found["amanah_refusals_total", (("code", "not_found"),)] == 60
    assert found["amanah_seal_batch_posts_sum", ()] == 60
    assert found["amanah_log_size", ()] == 63
    assert found["amanah_waiting_posts", ()] == 0
    assert 0 <= found["amanah_checkpoint_age_seconds", ()] < 600
    assert found["amanah_database_bytes", ()] >= 4096
    assert found["amanah_write_ahead_log_bytes", ()] >= 0
    # Of two processes, and of two more while they took over.
    assert {file.stem.rpartition("_")[2] for file in files} <= set("0123")


def directories_of(server: Server) -> set[Path]:
    files = [file for pid in workers(server) for file in psutil.Process(pid).open_files()]
    return {Path(file.path).parent for file in files if "/slot-" in file.path}


def test_a_service_that_ends_leaves_nothing_behind(ledger: Ledger) -> None:
    with running_server(ledger.store.paths.database) as server:
        (kept,) = directories_of(server)
        assert kept.is_dir()
    assert not kept.exists()
    with running_server(ledger.store.paths.database) as server:
        (killed,) = directories_of(server)
        left = [psutil.Process(pid) for pid in workers(server)]
        server.process.kill()
        for process in left:
            process.kill()
        psutil.wait_procs(left, timeout=30)
    make_directory().rmdir()
    assert not killed.exists()  # whoever comes next clears up


def test_two_services_on_one_machine_need_no_setting(ledger: Ledger) -> None:
    database = ledger.store.paths.database
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        with running_server(database, more={"AMANAH_METRICS_BIND": bind}) as server:
            (line,) = server.said("no_metrics")
            assert (line["level"], line["bind"]) == ("error", bind)
        with running_server(database, more={"AMANAH_METRICS_BIND": "off"}) as server:
            assert server.said("metrics") == server.said("no_metrics") == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AMANAH_METRICS_BIND", "9464"),
        ("AMANAH_METRICS_BIND", "127.0.0.1:65536"),
        ("AMANAH_METRICS_BIND", "::1:9464"),
        ("AMANAH_METRICS_BIND", ":9464"),
        ("AMANAH_KEY_RATE", "0"),
        ("AMANAH_KEY_RATE", "1e3"),
        ("AMANAH_ADDRESS_RATE", "-1"),
        ("AMANAH_ADDRESS_RATE", "OFF"),
    ],
)
def test_a_setting_that_means_nothing_is_refused(name: str, value: str) -> None:
    with pytest.raises(SetupError, match=re.escape(name)):
        Config.from_environment({name: value})


def test_settings_mean_what_they_say() -> None:
    off = Config.from_environment(
        {"AMANAH_METRICS_BIND": "[::1]:0", "AMANAH_KEY_RATE": "off", "AMANAH_ADDRESS_RATE": "7"}
    )
    assert (off.metrics_bind, off.key_rate, off.address_rate) == (("::1", 0), None, 7)
    assert Config.from_environment({"AMANAH_METRICS_BIND": "off"}).metrics_bind is None


def test_on_a_terminal_lines_are_for_people() -> None:
    """And in a pipe each is JSON with a time and a level."""
    say = (
        "from ledger import logs; logs.log().info('hello', name='Jakarta'); logs.request(status=1)"
    )
    piped = subprocess.run(
        [sys.executable, "-c", say], cwd=ROOT, stderr=subprocess.PIPE, check=True
    ).stderr.decode()
    lines = [json.loads(line) for line in piped.splitlines()]
    assert [line["event"] for line in lines] == ["hello", "request"]
    assert all(re.fullmatch(r"[-\dT:.]+Z", line["timestamp"]) for line in lines)
    main, end = pty.openpty()
    subprocess.run([sys.executable, "-c", say], cwd=ROOT, stderr=end, check=True)
    os.close(end)
    shown = os.read(main, 10_000).decode()
    os.close(main)
    assert "Jakarta" in shown
    assert "{" not in shown

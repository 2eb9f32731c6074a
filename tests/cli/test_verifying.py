"""verify: its exit codes for files, URLs and policies, and what it loads.

Its findings over a database: test_verify_database.py; its memory: test_remember.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ledger.tlog.note import SigningKey
from tests.command_line import SCRIPT, Amanah, Site, lines
from tests.simulator import Witness
from tests.support import HERE, ORIGIN, body_of, donation, unmeasured

NASTY = HERE / "data" / "360giving-nasty.json"


def test_verifying_a_file_and_a_url(site: Site, tmp_path: Path) -> None:
    elsewhere = Amanah(tmp_path)
    told = elsewhere.really("verify", site.server.url)
    assert told.code == 0
    assert told.out.startswith("SOUND: all ")
    assert f"is taken on trust:\n{site.vkey}\n" in told.err
    over_http = elsewhere("verify", site.server.url, "--vkey", site.vkey, "--json")
    on_disk = elsewhere("verify", site.amanah.database, "--vkey", site.vkey, "--json")
    assert (over_http.code, on_disk.code) == (0, 0)
    verdicts = [outcome.json for outcome in (over_http, on_disk)]
    for verdict in verdicts:
        assert verdict.pop("audit").keys() == {"read_from", "workers", "entries_a_second"}
    assert verdicts[0] == verdicts[1]
    fields = {"verdict", "origin", "size", "root", "witnesses", "not_understood"}
    assert verdicts[0].keys() == fields
    assert (over_http.json["verdict"], over_http.json["origin"]) == ("sound", ORIGIN)


def test_verifying_with_a_slash_at_the_end(site: Site) -> None:
    assert site.amanah("verify", f"{site.server.url}/").code == 0


def test_a_policy_without_witnesses_and_one_that_is_not_met(site: Site, tmp_path: Path) -> None:
    policy = tmp_path / "policy"
    policy.write_text(f"log {site.vkey}\nquorum none\n")
    assert site.amanah("verify", site.server.url, "--policy", policy).code == 0
    policy.write_text(f"log {site.vkey}\nwitness gov {Witness('gov').key}\nquorum gov\n")
    outcome = site.amanah.really("verify", site.server.url, "--policy", policy)
    assert (outcome.code, outcome.out) == (4, "")
    assert "amanah: policy_not_met: the checkpoint of size " in outcome.err
    assert "cosigned by no witness of the policy, not enough for the quorum gov" in outcome.err
    assert "\n  can mean: " in outcome.err
    assert "\n  do next:  " in outcome.err
    verdict = site.amanah("verify", site.server.url, "--policy", policy, "--json")
    assert verdict.code == 4
    assert (verdict.json["verdict"], verdict.json["code"]) == ("not_witnessed", "policy_not_met")
    assert verdict.json["meaning"]
    assert verdict.json["advice"]


def test_another_key_than_the_log_s_proves_it_wrong(site: Site) -> None:
    stranger = SigningKey.of(ORIGIN, b"\x01" * 32).verifier
    outcome = site.amanah("verify", site.server.url, "--vkey", stranger, "--json")
    assert outcome.code == 1
    assert (outcome.json["verdict"], outcome.json["code"]) == ("wrong", "signature_invalid")
    assert str(stranger) in outcome.json["detail"]


USES = {
    "a key that is none": (("--vkey", "nonsense"), "vkey 'nonsense' is not"),
    "a policy that is none": (("--policy", NASTY), "policy line 1: "),
    "a policy that is not there": (("--policy", "no-such-file"), "No such file"),
    "both": (("--vkey", "x", "--policy", NASTY), "give --vkey or --policy, not both"),
}


@pytest.mark.parametrize(("options", "message"), USES.values(), ids=USES)
@pytest.mark.parametrize("command", [("verify", "x.db"), ("receipt", "verify", NASTY)], ids=str)
def test_trust_that_is_spelled_wrong_is_exit_2(
    amanah: Amanah, command: tuple[object, ...], options: tuple[object, ...], message: str
) -> None:
    outcome = amanah(*command, *options)
    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err


@pytest.mark.usefixtures("no_waiting")
def test_nobody_there_is_exit_3(amanah: Amanah, closed_url: str) -> None:
    for options in ((), ("--vkey", SigningKey.of(ORIGIN, b"\x01" * 32).verifier)):
        outcome = amanah("verify", closed_url, *options)
        assert (outcome.code, outcome.out) == (3, "")
        assert f"amanah: unreachable: {closed_url} cannot be reached" in outcome.err
        verdict = amanah("verify", closed_url, *options, "--json")
        assert verdict.code == 3
        assert (verdict.json["verdict"], verdict.json["code"]) == ("unreachable", "unreachable")
    assert amanah("receipt", "get", closed_url, 3).code == 3
    posted = amanah("post", "--url", closed_url, stdin=lines(donation()), AMANAH_API_KEY="k")
    assert posted.code == 3


class _Elsewhere(BaseHTTPRequestHandler):
    """A web server that is no ledger: 404, a page that says yes to everything, or an error."""

    def do_GET(self) -> None:
        kind = self.path.split("/")[1]
        status = {"404": 404, "500": 500, "move": 302}.get(kind, 200)
        body = {"json": b'{"vkeys":[]}', "number": b'{"vkeys":[5]}'}.get(kind, b"<html>\x1b[2J")
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status == 302:
            self.send_header("Location", "/page/")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def elsewhere() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Elsewhere)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("kind", ["404", "500", "page", "json", "number", "move"])
def test_what_is_no_ledger_is_not_proved_wrong(amanah: Amanah, elsewhere: str, kind: str) -> None:
    outcome = amanah("verify", f"{elsewhere}/{kind}")
    assert (outcome.code, outcome.out) == (3, "")
    assert "amanah: unreachable: " in outcome.err
    assert "\x1b" not in outcome.err
    assert amanah("verify", f"{elsewhere}/{kind}", "--json").json["verdict"] == "unreachable"
    assert amanah("receipt", "get", f"{elsewhere}/{kind}", 0).code == 3


@pytest.mark.parametrize("url", ["http://", "http://a b/", "http://[::1", "https://x:99999999"])
@pytest.mark.usefixtures("no_waiting")
def test_an_address_that_is_none_is_exit_3(amanah: Amanah, url: str) -> None:
    assert amanah("verify", url).code == 3


# -- what is loaded

LOADED = (
    "import atexit, json, sys\n"
    "atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))\n"
)


def loaded(amanah: Amanah, *args: object) -> set[str]:
    """The top-level modules that a successful command has loaded in the end."""
    run = subprocess.run(
        [sys.executable, "-c", LOADED + SCRIPT, *map(str, args)],
        env=unmeasured(amanah.environment()),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    modules: list[str] = json.loads(run.stderr.splitlines()[-1])
    assert "ledger.audit" in modules
    return {name.split(".")[0] for name in modules}


def test_verifying_a_receipt_loads_no_database_and_no_network(
    site: Site, receipt: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "gift.tlog-proof"
    path.write_bytes(receipt)
    modules = loaded(site.amanah, "receipt", "verify", path, "--vkey", site.vkey)
    heavy = {"flask", "werkzeug", "gunicorn", "sqlite3", "sqlite_utils", "urllib3", "psutil"}
    assert modules & heavy == set()


def test_verifying_over_http_loads_no_server_and_no_database(site: Site) -> None:
    modules = loaded(site.amanah, "verify", site.server.url)
    assert "urllib3" in modules
    assert modules & {"flask", "werkzeug", "gunicorn", "sqlite3", "sqlite_utils"} == set()


def test_verifying_a_file_loads_no_server_and_no_network(site: Site) -> None:
    modules = loaded(site.amanah, "verify", site.amanah.database)
    assert "sqlite3" in modules
    assert modules & {"flask", "werkzeug", "gunicorn", "urllib3"} == set()


def test_a_ledger_can_be_verified_while_it_grows(site: Site) -> None:
    """What is read first stays what is judged, whatever is sealed in the meantime."""
    stop = threading.Event()
    posted: list[int] = []

    def post() -> None:
        while not stop.is_set():
            body = body_of(donation(ref=f"meanwhile-{len(posted)}"))
            posted.append(site.server.request("POST", "/v1/entries", body, site.key).status)

    poster = threading.Thread(target=post)
    poster.start()
    try:
        verdicts = [
            site.amanah("verify", target, "--json")
            for target in (site.server.url, site.amanah.database) * 4
        ]
    finally:
        stop.set()
        poster.join()
    assert [verdict.code for verdict in verdicts] == [0] * 8
    sizes = [verdict.json["size"] for verdict in verdicts]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]
    assert set(posted) == {201}

"""The image as a newcomer uses it: started, posted to, killed, started again, and verified.

Root may not be written, no privilege is left, and there is no temporary directory. --dist loadgroup
keeps these tests in one process, since each would build the image for itself.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ledger.tlog.note import VerifierKey
from tests.command_line import ROOT, SCRIPT
from tests.image.engine import IMAGE, LOCKED_DOWN, Container, Engine, pip_settings_of
from tests.support import PLATFORM, donation, fund

pytestmark = [
    pytest.mark.xdist_group("image"),
    pytest.mark.timeout(900),  # the first of them builds the image
]
ORIGIN = "ledger.example/image"
URL = "http://127.0.0.1:8000"
# One request of this machine's Python, in the network of a container.
ASK = """
import json, sys, urllib3
method, url, key = sys.argv[1:]
headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
retries = urllib3.Retry(None, connect=400, read=0, redirect=0, backoff_factor=0.1, backoff_max=0.3)
answer = urllib3.PoolManager(retries=retries).request(
    method, url, body=sys.stdin.read() or None, headers=headers if key else {}
)
json.dump([answer.status, answer.data.decode()], sys.stdout)
"""
# The connection is still taken then, by the kernel, but nobody answers.
STOP_ALL_BUT_1 = """
import os, signal
for name in os.listdir("/proc"):
    if name.isdecimal() and int(name) not in (1, os.getpid()):
        os.kill(int(name), signal.SIGSTOP)
"""


@contextmanager
def container(engine: Engine, name: str, volume: str | Path, **more: str) -> Iterator[Container]:
    """A container that is there until the end."""
    try:
        yield Container(engine, name, volume, **{"AMANAH_ORIGIN": ORIGIN, **more})
    finally:
        engine("rm", "--force", "--ignore", "--time=0", name)


def python(container: Container, program: str, *args: object, stdin: str = "") -> str:
    """What a program prints that this machine's Python runs in the network of `container`."""
    words = [sys.executable, "-c", program, *map(str, args)]
    done = subprocess.run(
        container.outside(*words), input=stdin, capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}{container.log()}"
    return done.stdout


def ask(container: Container, method: str, path: str, key: str = "", body: Any = None) -> Any:
    """The answer to a request, waiting for the server when it only starts; it must be a 2xx."""
    stdin = "" if body is None else json.dumps(body)
    status, text = json.loads(python(container, ASK, method, URL + path, key, stdin=stdin))
    assert 200 <= status < 300, text
    return text


def post(container: Container, key: str, *statements: Any) -> list[int]:
    """The indexes at which statements are sealed."""
    body = {"entries": [{"statement": statement} for statement in statements]}
    answer = json.loads(ask(container, "POST", "/v1/entries", key, body))
    return [entry["index"] for entry in answer["entries"]]


def vkey_of(container: Container) -> str:
    """The ledger's key, as the container prints it when it starts."""
    (vkey,) = set(re.findall(rf"^{re.escape(ORIGIN)}\+.*$", container.log(), re.MULTILINE))
    return str(VerifierKey.parse(vkey))


def test_a_newcomers_path(engine: Engine, tmp_path: Path) -> None:
    with container(engine, "newcomer", "newcomer") as amanah:
        ask(amanah, "GET", "/readyz")
        assert "Created /data/amanah.db" in amanah.log()
        vkey = vkey_of(amanah)
        key = amanah.run("amanah", "key", "create", "--platform", PLATFORM).splitlines()[0]
        assert post(amanah, key, fund("air"), donation(ref="gift")) == [2, 3]
        receipt = tmp_path / "gift.tlog-proof"
        receipt.write_text(ask(amanah, "GET", "/v1/entries/3/receipt"))
        told = python(amanah, SCRIPT, "receipt", "verify", receipt, "--vkey", vkey)
        assert told.startswith("VERIFIED: a donor gave 1000 IDR to the fund air")

        amanah.kill()
        amanah.start()
        ask(amanah, "GET", "/readyz")
        assert f"/data/amanah.db is the ledger {ORIGIN} already" in amanah.log()
        assert vkey_of(amanah) == vkey
        assert post(amanah, key, donation(ref="gift"), donation(ref="another")) == [3, 4]
        told = python(amanah, SCRIPT, "verify", URL, "--vkey", vkey)
        assert told.startswith("SOUND: all 5 entries")
        # Inside too, where its scratch goes to the only place there is.
        told = amanah.run("amanah", "verify", "/data/amanah.db", "--vkey", vkey)
        assert told.startswith("SOUND: all 5 entries")

        engine("healthcheck", "run", amanah.name)
        assert "gunicorn" in amanah.run("cat", "/proc/1/cmdline").split("\0")
        amanah.stop()
        assert amanah.wait() == 0
        assert "Shutting down: Master" in amanah.log()


def test_a_server_that_does_not_answer_is_unhealthy(engine: Engine) -> None:
    with container(engine, "hangs", "hangs") as amanah:
        ask(amanah, "GET", "/readyz")
        amanah.run("python3", "-c", STOP_ALL_BUT_1)
        engine("healthcheck", "run", amanah.name, code=1)


def test_two_that_start_at_once_on_one_volume_serve_one_ledger(engine: Engine) -> None:
    with container(engine, "one", "both") as one, container(engine, "two", "both") as two:
        for each in (one, two):
            ask(each, "GET", "/readyz")
        assert vkey_of(one) == vkey_of(two)
        key = one.run("amanah", "key", "create", "--platform", PLATFORM).splitlines()[0]
        assert post(one, key, fund("air")) == [2]
        assert post(two, key, donation(ref="a")) == [3]
        assert post(one, key, donation(ref="a"), donation(ref="b")) == [3, 4]


def test_a_directory_of_somebody_else_is_refused_with_what_to_do(
    engine: Engine, tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    with container(engine, "foreign", tmp_path) as amanah:
        assert amanah.wait() == 2
        assert "user 10001, who runs this, must be able to write to /data" in amanah.log()
    assert list(tmp_path.iterdir()) == []


def test_nothing_but_what_is_pinned_is_in_it(engine: Engine) -> None:
    listing = "from importlib.metadata import distributions as all\n"
    listing += "for d in all(): print(d.name.lower().replace('_', '-'), d.version, sep='==')"
    inside = engine("run", "--rm", *LOCKED_DOWN, IMAGE, "python3", "-c", listing)
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pins = {line.split()[0]: ";" in line for line in lines if re.match(r"[a-z]", line)}
    found = set(inside.split())
    assert {f for f in found if f.startswith("amanah-ledger==")}
    found = {f for f in found if not f.startswith("amanah-ledger==")}
    assert found <= pins.keys()
    assert found >= {pin for pin, has_marker in pins.items() if not has_marker}


def test_what_this_machine_tells_pip_stays_outside(engine: Engine) -> None:
    (config,) = json.loads(engine("image", "inspect", IMAGE))
    names = {setting.partition("=")[0] for setting in config["Config"]["Env"]}
    python_settings = {"PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}
    assert names == {"PATH", "HOME", "AMANAH_DATABASE", *python_settings}
    assert config["Config"]["User"] == "10001:10001"
    # The place where it was mounted is left, with nothing in it.
    assert engine("run", "--rm", *LOCKED_DOWN, IMAGE, "cat", "/etc/pip.conf") == ""


def test_of_the_settings_of_pip_those_go_in_that_mean_something_there() -> None:
    listing = """\
:env:.cert='/etc/ssl/own.pem'
:env:.find-links='/wheels'
global.cert='/etc/ssl/other.pem'
global.constraint='/etc/pip/constraints.txt'
global.extra-index-url='file:///mirror/simple https://mirror.example/simple'
install.no-cache-dir='true'
"""
    assert pip_settings_of(listing) == {
        "cert": "/etc/ssl/own.pem",
        "extra-index-url": "https://mirror.example/simple",
    }

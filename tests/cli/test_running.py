"""init, key, demo and serve: exit codes, stdout, and what is said to the person."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
import urllib3

from ledger import demo
from ledger.app import create_app
from ledger.commands import running
from ledger.config import Config
from ledger.store.files import Paths
from ledger.tlog.note import SigningKey, VerifierKey
from tests.command_line import Amanah, lines, size_of, statements_of
from tests.support import HERE, ORIGIN, PLATFORM, Statement, donation

NASTY = HERE / "data" / "360giving-nasty.json"


# -- init


def test_init_prints_the_key_and_says_what_to_keep(empty: Amanah) -> None:
    outcome = empty.really("init", "--origin", ORIGIN, "--operator", "Yayasan")
    assert outcome.code == 0
    assert VerifierKey.parse(outcome.out.removesuffix("\n")).name == ORIGIN
    paths = Paths.of(empty.database)
    assert str(paths.log_key) in outcome.err
    assert str(paths.key_secret) in outcome.err
    for path in (paths.log_key, paths.key_secret):
        assert path.stat().st_mode & 0o777 == 0o600
    (genesis,) = statements_of(empty)
    assert (genesis["origin"], genesis["operator"]) == (ORIGIN, "Yayasan")
    assert genesis["vkeys"] == [outcome.out.strip()]


def test_init_makes_up_a_name_for_trying_things_out(empty: Amanah) -> None:
    outcome = empty("init")
    assert outcome.code == 0
    assert outcome.out.startswith("localhost/amanah-")
    assert "No --origin given" in outcome.err


def test_init_never_overwrites(amanah: Amanah) -> None:
    before = {path: path.read_bytes() for path in Paths.of(amanah.database) if path.exists()}
    outcome = amanah.really("init", "--origin", ORIGIN)
    assert (outcome.code, outcome.out) == (2, "")
    assert "setup: " in outcome.err
    assert "exists already; a ledger is never overwritten" in outcome.err
    for path, content in before.items():
        assert path.read_bytes() == content


@pytest.mark.parametrize("origin", ["two words", "a+b", "", "a\nb", "x" * 300])
def test_init_refuses_what_no_log_may_be_called(empty: Amanah, origin: str) -> None:
    outcome = empty("init", "--origin", origin)
    assert (outcome.code, outcome.out) == (2, "")
    assert not empty.database.exists()


# -- setting up wrong


@pytest.mark.parametrize(
    "command",
    [
        ("serve",),
        ("key", "list"),
        ("key", "create", "--platform", PLATFORM),
        ("key", "revoke", "abc"),
        ("post", "-", "--platform", PLATFORM),
        ("import", "360giving", NASTY, "--platform", PLATFORM),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_without_a_ledger_the_hint_is_init(empty: Amanah, command: tuple[object, ...]) -> None:
    outcome = empty(*command, stdin=lines(donation()))
    assert (outcome.code, outcome.out) == (2, "")
    assert f"there is no ledger at {empty.database}; create one with `amanah init`" in outcome.err
    assert not empty.database.exists()


def test_serve_without_a_ledger_is_said_by_the_real_command_too(empty: Amanah) -> None:
    outcome = empty.really("serve", "--port", "0")
    assert (outcome.code, outcome.out) == (2, "")
    assert "create one with `amanah init`" in outcome.err


@pytest.mark.parametrize("name", ["log_key", "key_secret"])
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_key_files_that_others_can_read_are_refused(amanah: Amanah, name: str, mode: int) -> None:
    path: Path = getattr(Paths.of(amanah.database), name)
    path.chmod(mode)
    outcome = amanah("key", "list")
    assert (outcome.code, outcome.out) == (2, "")
    assert f"has mode 0{mode:o}; others can read it. Run: chmod 600 {path}" in outcome.err
    path.chmod(0o600)
    assert amanah("key", "list").code == 0


@pytest.mark.parametrize("name", ["log_key", "key_secret"])
def test_a_missing_key_file_is_named(amanah: Amanah, name: str) -> None:
    path: Path = getattr(Paths.of(amanah.database), name)
    path.unlink()
    outcome = amanah("key", "list")
    assert outcome.code == 2
    assert f"{path} is missing; restore it from where keys are kept" in outcome.err


WRONG_KEYS = {
    "another log's": str(SigningKey.of("other.example", b"\x01" * 32)),
    "another of the same name": str(SigningKey.of(ORIGIN, b"\x01" * 32)),
    "no key at all": "nonsense",
    "cut": str(SigningKey.of(ORIGIN, b"\x01" * 32))[:-5],
}


@pytest.mark.parametrize("text", WRONG_KEYS.values(), ids=WRONG_KEYS)
def test_a_wrong_log_key_is_refused_and_never_printed(amanah: Amanah, text: str) -> None:
    path = Paths.of(amanah.database).log_key
    path.write_text(f"{text}\n")
    outcome = amanah("post", "-", "--platform", PLATFORM, stdin=lines(donation()))
    assert (outcome.code, outcome.out) == (2, "")
    assert str(path) in outcome.err
    assert text.rpartition("+")[2] not in outcome.err


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "9p", "virtiofs"])
@pytest.mark.parametrize("command", ["init", "verify"])
def test_a_network_file_system_is_refused(
    amanah: Amanah, monkeypatch: pytest.MonkeyPatch, kind: str, command: str
) -> None:
    folder = amanah.database.parent / "share"
    folder.mkdir()
    shutil.copy(amanah.database, folder / "amanah.db")
    mounts = [("/", "ext4"), (str(folder), kind), (f"{folder}-other", "ext4")]
    partitions = [SimpleNamespace(mountpoint=point, fstype=fstype) for point, fstype in mounts]
    monkeypatch.setattr("psutil.disk_partitions", lambda all: partitions)  # noqa: A006
    target = folder / ("new.db" if command == "init" else "amanah.db")
    arguments = ("init",) if command == "init" else ("verify", target)
    outcome = amanah(*arguments, AMANAH_DATABASE=str(target))
    assert (outcome.code, outcome.out) == (2, "")
    assert f"is on a {kind} file system" in outcome.err
    assert "put the database on a local disk" in outcome.err
    assert target.exists() == (command == "verify")
    assert amanah("verify", amanah.database).code == 0  # beside the share, not on it


def test_settings_that_cannot_be(amanah: Amanah, tmp_path: Path) -> None:
    outcome = amanah("key", "list", AMANAH_DATABASE="postgresql://db/amanah")
    assert (outcome.code, outcome.out) == (2, "")
    assert "only a path to a SQLite file is supported" in outcome.err
    secret = tmp_path / "secret"
    secret.write_text("k\n")
    both = amanah("key", "list", AMANAH_API_KEY="k", AMANAH_API_KEY_FILE=str(secret))
    assert both.code == 2
    assert "both AMANAH_API_KEY and AMANAH_API_KEY_FILE are set; keep one" in both.err
    missing = amanah("key", "list", AMANAH_API_KEY_FILE=str(tmp_path / "nothing"))
    assert missing.code == 2


@pytest.mark.parametrize("arguments", [(), ("nonsense",), ("verify",), ("key",), ("--nonsense",)])
def test_a_wrong_use_is_exit_2(amanah: Amanah, arguments: tuple[str, ...]) -> None:
    outcome = amanah(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert "Usage: amanah" in outcome.err


@pytest.mark.parametrize(
    "command",
    "init|serve|demo|key|key create|key list|key revoke|post|import|import 360giving|"
    "verify|receipt|receipt get|receipt verify".split("|"),
)
def test_every_command_has_help(empty: Amanah, command: str) -> None:
    outcome = empty(*command.split(), "--help")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(f"Usage: amanah {command}")


# -- keys


def status_with(amanah: Amanah, key: str, ref: str) -> int:
    """What the API answers to a donation posted with `key`."""
    app = create_app(Config.from_environment(amanah.settings))
    body = {"statement": donation(ref=ref)}
    headers = {"Authorization": f"Bearer {key}"}
    answer = app.test_client().post("/v1/entries", json=body, headers=headers)
    app.extensions["amanah"].close()
    return answer.status_code


def test_a_key_from_its_creation_to_its_end(amanah: Amanah) -> None:
    created = amanah.really("key", "create", "--platform", PLATFORM, "--json")
    assert (created.code, created.err) == (0, "")
    new = created.json
    assert new.keys() == {"key_id", "key", "platform"}
    assert new["platform"] == PLATFORM
    assert len(new["key"]) == len("amanah_") + 43
    assert new["key"].startswith("amanah_")
    assert status_with(amanah, new["key"], "one") == 201
    listed = amanah("key", "list")
    assert new["key_id"] in listed.out
    assert listed.out.endswith("active\n")
    assert new["key"] not in listed.out
    (record,) = amanah("key", "list", "--json").json
    assert record.keys() == {"key_id", "platform", "scopes", "created_at", "revoked_at"}
    assert (record["scopes"], record["revoked_at"]) == (["write"], None)
    revoked = amanah("key", "revoke", new["key_id"])
    assert (revoked.code, revoked.out, revoked.err) == (0, "", f"Revoked {new['key_id']}.\n")
    assert status_with(amanah, new["key"], "two") == 401
    (record,) = amanah("key", "list", "--json").json
    assert record["revoked_at"] is not None
    again = amanah("key", "revoke", new["key_id"])
    assert again.code == 1
    assert "not_found: there is no API key" in again.err


def test_a_key_is_all_that_goes_to_stdout(amanah: Amanah) -> None:
    outcome = amanah("key", "create", "--platform", "baru", "--read-only")
    assert outcome.out.startswith("amanah_")
    assert outcome.out.count("\n") == 1
    assert "It is not stored; keep it now" in outcome.err
    assert status_with(amanah, outcome.out.strip(), "one") == 403
    assert amanah("key", "list").out.split()[1:3] == ["baru", "read-only"]
    registered = statements_of(amanah)[-1]
    assert (registered["type"], registered["id"]) == ("party", "baru")


@pytest.mark.parametrize("platform", ["Kita", "", "ledger", "a" * 64, "-a", "a b"])
def test_a_platform_that_is_no_id_gets_no_key(amanah: Amanah, platform: str) -> None:
    outcome = amanah("key", "create", "--platform", platform)
    assert (outcome.code, outcome.out) == (1, "")
    assert "amanah: invalid: " in outcome.err
    assert amanah("key", "list").out == ""


# -- demo


def test_the_demonstration_is_made_once_and_taken_up_again(empty: Amanah) -> None:
    first = empty.really("demo")
    assert (first.code, first.err) == (0, "")
    told = dict(line.split(None, 1) for line in first.out.splitlines())
    assert told.keys() == {"Ledger:", "Post:", "Receipt:", "Verify:"}
    size = size_of(empty)
    again = empty("demo", "--port", 8123)
    assert again.code == 0
    assert size_of(empty) == size
    origins = {s["origin"] for s in statements_of(empty) if s["type"] == "genesis"}
    assert len(origins) == 1
    assert "http://127.0.0.1:8123/v1/entries/" in again.out
    receipt = int(told["Receipt:"].split("/")[-2])
    assert statements_of(empty)[receipt]["ref"] == "gift-0012"
    # What it proposes to post is taken, with the key it shows.
    words = told["Post:"].replace("'", '"').split('"', 2)[1]
    key = words.removeprefix("Authorization: Bearer ")
    body = json.loads(told["Post:"].split("-d ", 1)[1].strip("'"))
    app = create_app(Config.from_environment(empty.settings))
    answer = app.test_client().post(
        "/v1/entries", json=body, headers={"Authorization": f"Bearer {key}"}
    )
    app.extensions["amanah"].close()
    assert answer.status_code == 201


def test_a_demonstration_shows_every_type_and_is_the_same_every_time(tmp_path: Path) -> None:
    shown = []
    for name in ("one", "two"):
        amanah = Amanah(tmp_path / name)
        assert amanah("demo").code == 0
        shown.append(statements_of(amanah)[1:])
        assert amanah("verify", amanah.database).code == 0
    assert shown[0] == shown[1]
    kinds = {statement["type"] for statement in shown[0]}
    assert kinds == {
        *("party", "programme", "fund", "donation"),
        *("disbursement", "transfer", "refund", "return"),
        *("goods_in", "goods_out", "report"),
    }


def test_a_demonstration_that_was_cut_off_is_finished(
    empty: Amanah, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off() -> Iterator[tuple[str, Statement]]:
        for number, posted in enumerate(demo.statements()):
            if number == 100:
                raise KeyboardInterrupt
            yield posted

    with monkeypatch.context() as patch:
        patch.setattr(running, "statements", cut_off)
        assert empty("demo").code == 130
    assert size_of(empty) == 103
    assert empty("demo").code == 0
    whole = Amanah(tmp_path / "whole")
    whole("demo")
    assert statements_of(empty)[1:] == statements_of(whole)[1:]


def test_a_real_ledger_is_not_made_a_demonstration(amanah: Amanah) -> None:
    outcome = amanah("demo")
    assert (outcome.code, outcome.out) == (2, "")
    assert f"is the ledger {ORIGIN}, not a demonstration" in outcome.err
    assert size_of(amanah) == 3
    assert amanah("key", "list").out == ""


# -- serve


def test_serving_until_told_to_stop(amanah: Amanah) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    command = amanah.command("serve", "--port", port, "--workers", 1)
    log = amanah.database.with_name("serve.log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=amanah.environment(),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        retry = urllib3.Retry(total=60, backoff_factor=0.05, backoff_max=0.25)
        answer = urllib3.PoolManager(retries=retry).request("GET", f"{url}/readyz")
        assert answer.status == 200, log.read_text()
        assert amanah("verify", url).code == 0
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=30)
    assert code == 0, log.read_text()


def test_serving_is_refused_before_any_worker_starts(amanah: Amanah) -> None:
    Paths.of(amanah.database).log_key.chmod(0o644)
    outcome = amanah.really("serve", "--port", "0")
    assert (outcome.code, outcome.out) == (2, "")
    assert "chmod 600" in outcome.err

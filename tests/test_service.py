"""Creating and opening a ledger, posting to it from Python, its API keys, its settings."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ledger.config import DEFAULTS, Config
from ledger.entry import decode_entry
from ledger.errors import NotAuthenticated, NotFound, Refusal, SetupError
from ledger.service import Ledger
from tests.support import ORIGIN, disbursement, donation, fund, party

OPERATOR = "Operator of the tests"

# -- creating and opening

NO_BEGINNINGS = {
    "no origin": ("", OPERATOR),
    "a space in the origin": ("ledger example", OPERATOR),
    "a plus in the origin": ("ledger+example", OPERATOR),
    "a line feed in the origin": ("ledger.example\n", OPERATOR),
    "a bidi control in the origin": ("ledger\u202eexample", OPERATOR),
    "an origin of 201 characters": ("x" * 201, OPERATOR),
    "no operator": (ORIGIN, ""),
    "a space behind the operator": (ORIGIN, "Amanah "),
    "a tab in the operator": (ORIGIN, "Ama\tnah"),
    "a bidi control in the operator": (ORIGIN, "Ama\u2066nah"),
    "a lone surrogate in the operator": (ORIGIN, "Ama\ud800nah"),
    "an operator of 141 characters": (ORIGIN, "x" * 141),
}


@pytest.mark.parametrize(("origin", "operator"), NO_BEGINNINGS.values(), ids=NO_BEGINNINGS)
def test_what_no_auditor_would_read_begins_no_ledger(
    tmp_path: Path, origin: str, operator: str
) -> None:
    with pytest.raises(SetupError):
        Ledger.create(tmp_path / "amanah.db", origin, operator)
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_begins_with_its_genesis(ledger: Ledger) -> None:
    genesis = decode_entry(ledger.store.entry_bytes(0))
    assert (genesis.index, genesis.platform, genesis.prev) == (0, "ledger", "0" * 64)
    assert genesis.statement["origin"] == ledger.origin == ORIGIN
    assert genesis.statement["vkeys"] == [str(key) for key in ledger.vkeys]


def test_a_ledger_is_never_overwritten(ledger: Ledger) -> None:
    database = ledger.store.paths.database
    before = {path: path.read_bytes() for path in database.parent.iterdir()}
    with pytest.raises(SetupError, match="never overwritten"):
        Ledger.create(database, ORIGIN, OPERATOR)
    assert {path: path.read_bytes() for path in database.parent.iterdir()} == before


def test_private_files_are_for_their_owner_alone(ledger: Ledger) -> None:
    paths = ledger.store.paths
    for path in (paths.log_key, paths.key_secret):
        assert path.stat().st_mode & 0o777 == 0o600
        path.chmod(0o640)
        with pytest.raises(SetupError, match="chmod 600"):
            Ledger.open(paths.database)
        path.chmod(0o600)
    Ledger.open(paths.database).close()


def test_a_ledger_opens_only_with_its_own_files(ledger: Ledger, tmp_path: Path) -> None:
    paths = ledger.store.paths
    other = Ledger.create(tmp_path / "other" / "amanah.db", ORIGIN, OPERATOR)
    other.close()
    kept = {path: path.read_bytes() for path in (paths.log_key, paths.key_secret)}
    for path, content in kept.items():
        for bad in (b"", b"nonsense\n", content + b"\n", content[:-2] + b"\n", b"\xff"):
            path.write_bytes(bad)
            with pytest.raises(SetupError, match=path.name):
                Ledger.open(paths.database)
        path.unlink()
        with pytest.raises(SetupError, match="is missing"):
            Ledger.open(paths.database)
        path.write_bytes(content)
        path.chmod(0o600)
    shutil.copy(other.store.paths.log_key, paths.log_key)
    with pytest.raises(SetupError, match="put the right file back"):
        Ledger.open(paths.database)


def test_what_is_no_ledger_does_not_open(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="amanah init"):
        Ledger.open(tmp_path / "missing.db")
    (tmp_path / "text.db").write_text("nothing of the kind\n" * 100)
    with pytest.raises(SetupError, match="is not a ledger"):
        Ledger.open(tmp_path / "text.db")


# -- posting from Python

UNREADABLE: dict[str, tuple[Any, str]] = {
    "a float": (donation(amount=1.5), "/amount"),
    "a float that is whole": (fund("air", supersedes=1.0), "/supersedes"),
    "not a number": (donation(amount=float("nan")), "/amount"),
    "None": (party("yayasan", area=None), "/area"),
    "a negative index": (fund("air", supersedes=-1), "/supersedes"),
    "an integer too large": (fund("air", supersedes=2**53), "/supersedes"),
    "a line feed": (party("yayasan", name="a\nb"), "/name"),
    "a bidi control": (party("yayasan", name="a\u202eb"), "/name"),
    "a noncharacter": (party("yayasan", name="a\uffffb"), "/name"),
    "a lone surrogate": (party("yayasan", name="a\ud800b"), "/name"),
    "far down": (disbursement(recipient={"party": "a\x7fb"}), "/recipient/party"),
    "a key beyond ASCII": (party("yayasan", naïve="x"), ""),
    "a key that is a surrogate": (party("yayasan", **{"\ud800": "x"}), ""),
}


# Readable, but with a character that no text holds.
MISSPELLED = [
    UNREADABLE[name][0] for name in ("a line feed", "a bidi control", "a noncharacter", "far down")
]


@pytest.mark.parametrize(("statement", "where"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_no_auditor_would_read_is_not_sealed(
    ledger: Ledger, statement: Any, where: str
) -> None:
    """Posting from Python goes through strict reading too, though no bytes were sent."""
    ledger.register_platform("kita")
    with pytest.raises(Refusal) as caught:
        ledger.post("kita", [party("posyandu"), statement])
    assert caught.value.code == ("invalid" if statement in MISSPELLED else "malformed")
    assert [fault.pointer for fault in caught.value.faults] == [f"/entries/1/statement{where}"]
    assert ledger.store.size() == 2


def test_posting_answers_with_places(ledger: Ledger) -> None:
    assert ledger.register_platform("kita")
    assert not ledger.register_platform("kita")
    entries = ledger.post("kita", [fund("air"), donation()]).entries
    assert [(entry.index, entry.replayed) for entry in entries] == [(2, False), (3, False)]
    sealed = ledger.post("kita", [donation()])
    assert [(entry.index, entry.replayed) for entry in sealed.entries] == [(3, True)]
    assert sealed.all_replayed


# -- API keys


def test_a_key_is_known_by_itself_and_stored_nowhere(ledger: Ledger) -> None:
    new = ledger.create_key("kita")
    found = ledger.authenticate(new.key)
    assert (found.key_id, found.platform, found.scopes) == (new.key_id, "kita", ("write",))
    assert len(new.key) >= len("amanah_") + 43  # 256 random bits
    secret = new.key.removeprefix("amanah_").encode()
    for path in ledger.store.paths.database.parent.iterdir():
        assert secret not in path.read_bytes(), path.name


def test_a_revoked_key_is_revoked_for_good(ledger: Ledger) -> None:
    new = ledger.create_key("kita")
    ledger.authenticate(new.key)
    ledger.revoke_key(new.key_id)
    with pytest.raises(NotAuthenticated, match=f"{new.key_id} was revoked at 20"):
        ledger.authenticate(new.key)
    for key_id in (new.key_id, "nothing", ""):
        with pytest.raises(NotFound):
            ledger.revoke_key(key_id)


def test_a_key_that_was_revoked_elsewhere_is_good_for_a_second_at_most(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("ledger.service.time.monotonic", lambda: now)
    new = ledger.create_key("kita")
    ledger.authenticate(new.key)
    with closing(Ledger.open(ledger.store.paths.database)) as other:
        other.revoke_key(new.key_id)
    now += 0.99
    ledger.authenticate(new.key)
    now += 0.02
    with pytest.raises(NotAuthenticated, match="was revoked"):
        ledger.authenticate(new.key)


def test_no_more_keys_are_kept_than_the_bound(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.service.KEYS_KEPT", 3)
    keys = [ledger.create_key("kita").key for _ in range(7)]
    for key in [*keys, *keys]:
        assert ledger.authenticate(key).platform == "kita"
        assert len(ledger._kept_keys) <= 3
    with pytest.raises(NotAuthenticated):
        ledger.authenticate("amanah_unknown")
    assert "amanah_unknown" not in ledger._kept_keys


@pytest.mark.parametrize("platform", ["", "Kita", "kita ", "ledger", "x" * 64, "kita\n", "é"])
def test_what_is_no_id_gets_no_key(ledger: Ledger, platform: str) -> None:
    with pytest.raises(Refusal):
        ledger.create_key(platform)
    assert (ledger.store.keys(), ledger.store.size()) == ([], 1)


def test_a_party_that_others_registered_gets_a_key_all_the_same(ledger: Ledger) -> None:
    ledger.register_platform("kita")
    ledger.post("kita", [party("lain")])
    assert ledger.authenticate(ledger.create_key("lain").key).platform == "lain"
    assert ledger.store.size() == 3


# -- settings


def test_settings_come_from_the_environment() -> None:
    assert Config.from_environment({}).database == Path("amanah.db")
    assert Config.from_environment({"AMANAH_DATABASE": ""}).database == Path("amanah.db")
    given = {"AMANAH_DATABASE": "/data/a.db", "AMANAH_API_KEY": "k", "AMANAH_STATE": "/state"}
    assert Config.from_environment(given)[:3] == (Path("/data/a.db"), "k", Path("/state"))


# What settings that are no free text may say, and what is read of it.
READ = {
    "AMANAH_METRICS_BIND": ("[::1]:9999", "('::1', 9999)"),
    "AMANAH_KEY_RATE": ("77", "77"),
    "AMANAH_ADDRESS_RATE": ("77", "77"),
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_setting_may_stand_in_a_file(tmp_path: Path, name: str) -> None:
    file = tmp_path / "setting"
    spelled, read = READ.get(name, ("of-the-file", "of-the-file"))
    file.write_text(f"{spelled}\n")
    assert read in [str(v) for v in Config.from_environment({f"{name}_FILE": str(file)})]
    for bad in (tmp_path / "missing", tmp_path):
        with pytest.raises(SetupError, match=f"{name}_FILE"):
            Config.from_environment({f"{name}_FILE": str(bad)})
    with pytest.raises(SetupError, match="keep one"):
        Config.from_environment({f"{name}_FILE": str(file), name: "x"})
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(SetupError, match=f"{name}_FILE"):
        Config.from_environment({f"{name}_FILE": str(file)})


def test_a_database_elsewhere_is_not_supported() -> None:
    with pytest.raises(SetupError, match="SQLite"):
        Config.from_environment({"AMANAH_DATABASE": "postgresql://db/amanah"})

"""export DIR, and verifying what it wrote: from the directory and from any web server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ledger.service import Ledger
from tests.command_line import Amanah, Site, lines
from tests.static_files import served
from tests.support import ORIGIN, PLATFORM, donation


@pytest.fixture
def exported(amanah: Amanah, tmp_path: Path) -> Path:
    """An export of the ledger of `amanah`, grown to 303 entries."""
    gifts = lines(*(donation(ref=f"gift-{n}") for n in range(300)))
    assert amanah("post", "--platform", PLATFORM, stdin=gifts).code == 0
    assert amanah("export", tmp_path / "out").code == 0
    return tmp_path / "out"


def test_an_export_says_what_it_did(amanah: Amanah, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = amanah.really("export", out)
    assert (first.code, first.err) == (0, "")
    assert first.out == f"{out} holds all 3 entries of {ORIGIN}: 3 of them new, in 3 files.\n"
    assert amanah("post", "--platform", PLATFORM, stdin=lines(donation())).code == 0
    second = amanah("export", out, "--json").json
    assert second.keys() == {"origin", "size", "root", "before", "files"}
    assert (second["origin"], second["size"], second["before"]) == (ORIGIN, 4, 3)
    again = amanah("export", out)
    assert again.out == f"{out} holds all 4 entries of {ORIGIN}: 0 of them new, in 0 files.\n"


@pytest.mark.parametrize("name", ["DIR", "out", "--from"])
def test_whatever_is_no_format_is_the_directory(amanah: Amanah, name: str) -> None:
    outcome = amanah.really("export", name)
    if name == "--from":
        assert outcome.code == 2
        assert "requires an argument" in outcome.err
    else:
        assert outcome.code == 0
        assert (amanah.database.parent / name / "checkpoint").exists()


def test_an_export_of_no_ledger_writes_nothing(empty: Amanah, tmp_path: Path) -> None:
    outcome = empty("export", tmp_path / "out")
    assert (outcome.code, outcome.out) == (2, "")
    assert "there is no ledger at" in outcome.err
    assert not (tmp_path / "out").exists()


def test_an_export_does_not_take_the_place_of_another_ledger_s(
    exported: Path, amanah: Amanah, tmp_path: Path
) -> None:
    database = tmp_path / "other.db"
    Ledger.create(database, "other.example", "Tests").close()
    outcome = amanah("export", exported, AMANAH_DATABASE=str(database))
    assert (outcome.code, outcome.out) == (1, "")
    assert "amanah: signature_invalid: " in outcome.err
    assert f"so says {exported}/checkpoint" in outcome.err


def test_a_directory_and_its_web_server_are_as_sound_as_the_ledger(
    exported: Path, amanah: Amanah, tmp_path: Path
) -> None:
    elsewhere = Amanah(tmp_path / "elsewhere")

    def verdict(source: Path | str) -> dict[str, Any]:
        found = dict(elsewhere("verify", source, "--json").json)
        del found["audit"]  # how fast it was
        return found

    from_database = verdict(amanah.database)
    told = elsewhere.really("verify", exported)
    assert told.code == 0
    assert told.out.startswith(f"SOUND: all 303 entries of {ORIGIN} are intact")
    assert verdict(exported) == from_database
    with served(exported) as url:
        over_http = Amanah(tmp_path / "third")("verify", url)
        assert over_http.code == 0
        assert "is taken on trust:\n" in over_http.err
        assert verdict(url) == from_database


@pytest.mark.parametrize("index", [0, 3, 255, 256, 302])
def test_receipts_come_from_an_export_too(
    exported: Path, amanah: Amanah, tmp_path: Path, index: int
) -> None:
    with served(exported) as url:
        receipts = {
            source: amanah("receipt", "get", source, index)
            for source in (url, exported, amanah.database)
        }
        beyond = amanah("receipt", "get", url, 303)
    assert {outcome.code for outcome in receipts.values()} == {0}
    assert len({outcome.out for outcome in receipts.values()}) == 1
    assert (beyond.code, beyond.out) == (1, "")
    assert "there is no entry 303 yet; the ledger holds 303" in beyond.err


def test_a_ledger_that_is_served_can_be_exported_from_afar(site: Site, tmp_path: Path) -> None:
    out = tmp_path / "mirror"
    amanah = Amanah(tmp_path)
    first = amanah("export", out, "--from", site.server.url)
    assert first.code == 0
    assert f"is taken on trust:\n{site.vkey}\n" in first.err
    with served(out) as url:  # and from there, with a key that is known
        second = amanah("export", tmp_path / "second", "--from", url, "--vkey", site.vkey)
    assert (second.code, second.err) == (0, "")
    assert amanah("verify", tmp_path / "second", "--vkey", site.vkey).code == 0


@pytest.mark.usefixtures("no_waiting")
def test_a_directory_that_holds_no_export(amanah: Amanah, tmp_path: Path) -> None:
    outcome = amanah("verify", tmp_path)
    assert (outcome.code, outcome.out) == (2, "")
    assert "is no export of a ledger: it holds no checkpoint" in outcome.err
    (tmp_path / "index.html").write_text("<html>")
    with served(tmp_path) as url:
        for command in (("verify", url), ("receipt", "get", url, 0)):
            outcome = amanah(*command)
            assert (outcome.code, outcome.out) == (3, "")
            assert "/checkpoint does not exist" in outcome.err


def test_an_export_in_which_something_is_missing(exported: Path, amanah: Amanah) -> None:
    """Over HTTP as in the directory, it is found where it stood."""
    (exported / "tile/entries/000").unlink()
    vkey = ("--vkey", Ledger.open(amanah.database).vkeys[0])
    with served(exported) as url:
        for source in (exported, url):
            verdict = amanah("verify", source, "--json", *vkey)
            assert verdict.code == 1
            assert (verdict.json["code"], verdict.json["index"]) == ("log_mismatch", 0)
    (exported / "checkpoint").unlink()
    verdict = amanah("verify", exported, "--json", *vkey)
    assert (verdict.code, verdict.json["compared"]) == (1, "signed checkpoint")

"""The log as static files: complete, extended only by the same log, consistent at any moment."""

from __future__ import annotations

import fcntl
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ledger.audit import audit
from ledger.errors import LogMismatch, SetupError, SignatureError, Unavailable
from ledger.exports.directory import DirectoryReader, export_log
from ledger.outgrown import Outgrown
from ledger.service import Ledger
from ledger.tlog.note import SigningKey
from ledger.tlog.tile import TILE_WIDTH, parse_bundle_path, parse_tile_path
from tests.simulator import Log
from tests.support import ORIGIN, PLATFORM, donation, fund


def export(log: Log, directory: Path) -> int:
    """Export a log; how many files that took."""
    return export_log(log, log.policy, directory).files


def fork(log: Log, index: int) -> Log:
    return log.copy().edit(index, platform="other").publish()


def files_in(directory: Path) -> dict[str, bytes]:
    found = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in found}


SIZES = [1, 2, 3, 255, 256, 257, 300, 511, 512, 513, 600]


@pytest.mark.parametrize("size", SIZES)
def test_an_export_holds_what_an_auditor_reads_and_nothing_else(
    large: Log, tmp_path: Path, size: int
) -> None:
    log = large.at(size)
    assert export(log, tmp_path) == len(log.files())
    assert files_in(tmp_path) == log.files()
    assert audit(DirectoryReader(tmp_path), log.policy).checkpoint.size == size


def test_exports_that_grow_hold_the_newest_log_and_no_tile_twice(
    large: Log, tmp_path: Path
) -> None:
    for size in SIZES:
        log = large.at(size)
        export(log, tmp_path)
        files = files_in(tmp_path)
        assert files.items() >= log.files().items()
        for path in files.keys() - log.files().keys():
            full, _, width = path.partition(".p/")
            # A smaller partial tile, which an older checkpoint needs, and only until it is full.
            assert int(width) < TILE_WIDTH
            assert full not in files
        assert audit(DirectoryReader(tmp_path), log.policy).is_sound


def test_what_stands_is_never_written_again(large: Log, tmp_path: Path) -> None:
    export(large.at(513), tmp_path)
    before = {path: (tmp_path / path).stat() for path in files_in(tmp_path)}
    assert export(large.at(513), tmp_path) == 0
    # A partial bundle, partial tiles of both levels, and the checkpoint.
    assert export(large.at(514), tmp_path) == 3
    assert export(large.at(600), tmp_path) == 3
    for path, stat in before.items():
        now = (tmp_path / path).stat()
        assert (now.st_ino == stat.st_ino) == (path != "checkpoint"), path


def test_a_tree_of_three_levels(tmp_path: Path) -> None:
    """Entries that nobody could audit, since 65,536 real ones would take long to make."""
    whole = Log((b"entry-%d" % n for n in range(65_800)), SigningKey.of(ORIGIN, bytes(32)))
    for size in (65_279, 65_536, 65_800):
        log = whole.at(size)
        export(log, tmp_path)
        assert files_in(tmp_path).items() >= log.files().items()
    partial = sorted(path for path in files_in(tmp_path) if ".p/" in path)
    assert partial == [
        "tile/0/257.p/8",
        "tile/1/001.p/1",
        "tile/2/000.p/1",
        "tile/entries/257.p/8",
    ]


def test_every_path_is_one_that_the_format_has(large: Log, tmp_path: Path) -> None:
    export(large, tmp_path)
    for path in files_in(tmp_path).keys() - {"checkpoint"}:
        (parse_bundle_path if path.startswith("tile/entries/") else parse_tile_path)(path)


# -- only by the same log


@pytest.mark.parametrize("size", [300, 400, 512, 600])
@pytest.mark.parametrize("index", [3, 255, 256, 299])
def test_another_history_is_refused_and_changes_nothing(
    large: Log, tmp_path: Path, size: int, index: int
) -> None:
    export(large.at(300), tmp_path)
    before = files_in(tmp_path)
    forked = large.at(size).fork(index, amount="7")
    with pytest.raises(LogMismatch, match="root at size 300, against") as refused:
        export(forked, tmp_path)
    assert refused.value.index == 299
    assert files_in(tmp_path) == before


def test_a_shorter_log_is_refused(large: Log, tmp_path: Path) -> None:
    export(large.at(300), tmp_path)
    before = files_in(tmp_path)
    with pytest.raises(LogMismatch, match="size, against") as refused:
        export(large.at(299), tmp_path)
    assert (refused.value.expected, refused.value.found) == ("at least 300", "299")
    assert files_in(tmp_path) == before


def test_another_log_or_key_is_refused(large: Log, tmp_path: Path) -> None:
    export(large.at(300), tmp_path)
    before = files_in(tmp_path)
    for name in (ORIGIN, "other.example"):
        other = large.copy().publish(SigningKey.of(name, b"\x01" * 32))
        with pytest.raises(SignatureError) as refused:
            export(other, tmp_path)
        assert f"so says {tmp_path}/checkpoint" in "".join(refused.value.__notes__)
    assert files_in(tmp_path) == before


def test_files_of_another_log_are_not_written_over(large: Log, tmp_path: Path) -> None:
    export(large.at(300), tmp_path)
    (tmp_path / "checkpoint").unlink()
    before = files_in(tmp_path)
    with pytest.raises(SetupError, match="stands there already and is not of this log"):
        export(large.at(300).fork(5, amount="7"), tmp_path)
    assert files_in(tmp_path) == before
    assert export(large.at(300), tmp_path) == 1  # the same log puts its checkpoint back


@pytest.mark.parametrize("start", [0, 300])
def test_a_source_that_does_not_lead_to_its_checkpoint_is_not_published(
    large: Log, tmp_path: Path, start: int
) -> None:
    if start:
        export(large.at(start), tmp_path)
    before = files_in(tmp_path).get("checkpoint")
    with pytest.raises(LogMismatch, match="index 555: leaf hash of the entry"):
        export(large.copy().edit(555, platform="other"), tmp_path)
    lying = large.copy()
    lying.entries[555] = lying.entries[554]
    note = lying.note
    with pytest.raises(LogMismatch, match="checkpoint: root of all entries"):
        export(lying.publish().serve("checkpoint", note), tmp_path)
    assert files_in(tmp_path).get("checkpoint") == before


def test_what_stands_is_not_taken_anew_on_the_source_s_word(large: Log, tmp_path: Path) -> None:
    """A wider tile and bundle that agree with each other, but not with what stands there."""
    export(large.at(300), tmp_path)
    liar = fork(large, 290)
    lying = large.copy()
    for path in ("tile/0/001", "tile/entries/001"):
        lying.serve(path, liar.files()[path])
    with pytest.raises(LogMismatch, match="index 290: leaf hash of the entry"):
        export(lying, tmp_path)
    assert DirectoryReader(tmp_path).checkpoint() == large.at(300).note


# -- at any moment


class Cut(OSError):
    """The moment at which the power fails."""


def fail_at(monkeypatch: pytest.MonkeyPatch, name: str, count: int) -> None:
    """Let the `count`-th call of a function of os, from 0, fail, and all that follow."""
    calls, real = iter(range(count)), getattr(os, name)

    def function(*args: Any) -> Any:
        if next(calls, None) is None:
            raise Cut("cut")
        return real(*args)

    monkeypatch.setattr(os, name, function)


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_an_export_cut_off_anywhere_leaves_a_sound_log_and_is_taken_up(
    large: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    old, new = large.at(300), large.at(520)
    for count in range(100):
        directory = tmp_path / str(count)
        export(old, directory)
        with monkeypatch.context() as patched:
            fail_at(patched, name, count)
            try:
                export(new, directory)
                break
            except SetupError as error:
                if not isinstance(error.__cause__, Cut):
                    raise
        report = audit(DirectoryReader(directory), large.policy)
        assert report.is_sound
        assert report.checkpoint.size in (300, 520)
        export(new, directory)
        assert files_in(directory).items() >= new.files().items()
        assert (directory / ".part").exists() is False
    assert count > 5


def test_the_checkpoint_is_written_when_all_else_is_on_disk(
    large: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    real_replace, real_fsync = os.replace, os.fsync

    def replace(source: Path, target: Path) -> None:
        done.append(str(Path(target).relative_to(tmp_path)))
        real_replace(source, target)

    def fsync(fd: int) -> None:
        kind = "file" if os.fstat(fd).st_mode & 0o100000 else "directory"
        done.append(f"flush {kind}")
        real_fsync(fd)

    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(os, "fsync", fsync)
    export(large, tmp_path)
    last = done.index("checkpoint")
    assert done[last - 1 :] == ["flush file", "checkpoint", "flush directory"]
    for before, path in pairwise(done):
        assert path.startswith("flush") or before == "flush file", path
    folders = {path.parent for path in tmp_path.rglob("*") if path.name != "checkpoint"}
    assert done[:last].count("flush directory") == len(folders)


def test_a_reader_of_the_checkpoint_before_finds_what_it_needs(large: Log, tmp_path: Path) -> None:
    """Its partial tiles may have been deleted since: the full ones hold the same."""
    old = large.at(300)
    export(old, tmp_path)
    reader = Outgrown(DirectoryReader(tmp_path))
    export(large, tmp_path)
    assert not (tmp_path / "tile/entries/001.p").exists()
    reader.checkpoint = old.checkpoint
    assert audit(reader, old.policy).checkpoint.size == 300


def test_two_exports_do_not_run_at_once(large: Log, tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    with pytest.raises(Unavailable, match="another export"):
        export(large, tmp_path)
    os.close(fd)
    export(large, tmp_path)


def test_a_directory_that_cannot_be_written(large: Log, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(SetupError, match="cannot be written to"):
        export(large, file / "below")


def test_the_store_of_a_ledger_is_exported_as_it_grows(ledger: Ledger, tmp_path: Path) -> None:
    ledger.register_platform(PLATFORM)
    ledger.post(PLATFORM, [fund("air")])
    for start in range(0, 600, 150):
        gifts = [donation(ref=f"gift-{n}") for n in range(start, start + 150)]
        ledger.post(PLATFORM, gifts)
        log = Log.of(ledger)
        export_log(ledger.store, log.policy, tmp_path / "export")
        assert files_in(tmp_path / "export").items() >= log.files().items()

"""Whatever is changed in an export, `amanah verify` says so and says where.

A table of every kind of file and of everything that can be done to one, and to several.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.exports.directory import export_log
from ledger.tlog.merkle import HASH_SIZE
from ledger.tlog.note import SigningKey
from ledger.tlog.tile import decode_bundle, encode_bundle
from tests.command_line import Amanah, found, verdict
from tests.simulator import Log, flipped, new_log
from tests.support import ORIGIN, PLATFORM, donation, fund, party

SIZE = 560  # two full tiles, and a partial one


@pytest.fixture(scope="module")
def log() -> Log:
    log = new_log(ORIGIN).append(PLATFORM, party(PLATFORM)).append(PLATFORM, fund("air"))
    for n in range(3, SIZE):
        log.append(PLATFORM, donation(ref=f"gift-{n}"))
    return log.refold().seal()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, log: Log) -> Path:
    """An export. Not to be changed."""
    directory = tmp_path_factory.mktemp("original") / "out"
    export_log(log, log.policy, directory)
    return directory


@pytest.fixture
def out(original: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(original, tmp_path / "out"))


@pytest.fixture
def key(log: Log) -> tuple[object, ...]:
    """The option that names the log's key, so that only the log itself is in question."""
    return ("--vkey", log.signer.verifier)


# path -> the indexes of which its change may be told
FILES = {
    "tile/0/000": range(256),
    "tile/0/001": range(256, 512),
    "tile/0/002.p/48": range(512, 561),
    "tile/1/000.p/2": range(0, 512, 256),
    "tile/entries/000": range(257),
    "tile/entries/001": range(256, 513),
    "tile/entries/002.p/48": range(512, 561),
}
CHANGES: dict[str, Callable[[bytes], bytes | None]] = {
    "first bit": lambda data: flipped(data, 7),
    "a bit in the middle": lambda data: flipped(data, 4 * len(data) + 3),
    "last bit": lambda data: flipped(data, 8 * len(data) - 8),
    "last byte cut off": lambda data: data[:-1],
    "half of it": lambda data: data[: len(data) // 2],
    "a byte more": lambda data: data + b"\0",
    "twice": lambda data: data * 2,
    "empty": lambda data: b"",
    "deleted": lambda data: None,
}


def write(path: Path, data: bytes | None) -> None:
    path.unlink()
    if data is not None:
        path.write_bytes(data)


def test_the_table_is_of_all_files(original: Path) -> None:
    files = {str(path.relative_to(original)) for path in original.rglob("*") if path.is_file()}
    assert files == FILES.keys() | {"checkpoint"}


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_file_is_found_where_it_stands(
    empty: Amanah, out: Path, path: str, change: Callable[[bytes], bytes | None]
) -> None:
    write(out / path, change((out / path).read_bytes()))
    index, _ = found(empty, out)
    assert index in FILES[path]


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("known", [True, False])
def test_a_changed_checkpoint_is_refused(
    empty: Amanah,
    out: Path,
    key: tuple[object, ...],
    change: Callable[[bytes], bytes | None],
    known: bool,
) -> None:
    write(out / "checkpoint", change((out / "checkpoint").read_bytes()))
    outcome = verdict(empty, out, *(key if known else ()))
    assert outcome.code == 1
    assert outcome.json["verdict"] == "wrong"
    if not (out / "checkpoint").exists():
        assert outcome.json["compared"] == "signed checkpoint"
    else:
        assert outcome.json["code"] in ("malformed", "signature_invalid")


@pytest.mark.parametrize(
    ("one", "two"),
    [("tile/0/000", "tile/0/001"), ("tile/entries/000", "tile/entries/001")],
)
def test_two_files_swapped(
    empty: Amanah, out: Path, key: tuple[object, ...], one: str, two: str
) -> None:
    first, second = (out / one).read_bytes(), (out / two).read_bytes()
    (out / one).write_bytes(second)
    (out / two).write_bytes(first)
    assert found(empty, out, *key) == (0, "leaf hash of the entry")


Entries = list[bytes]
IN_A_BUNDLE: dict[str, Callable[[Entries], Entries]] = {
    "edit": lambda e: [*e[:44], e[44].replace(b'"1000"', b'"9000"'), *e[45:]],
    "drop": lambda e: [*e[:44], *e[45:]],
    "insert": lambda e: [*e[:44], e[43], *e[44:]],
    "swap": lambda e: [*e[:44], e[45], e[44], *e[46:]],
    "one in the place of another": lambda e: [*e[:44], e[45], *e[45:]],
}


@pytest.mark.parametrize("change", IN_A_BUNDLE.values(), ids=IN_A_BUNDLE)
@pytest.mark.parametrize(("path", "first"), [("000", 0), ("001", 256)])
def test_an_entry_within_a_bundle(
    empty: Amanah, out: Path, path: str, first: int, change: Callable[[Entries], Entries]
) -> None:
    bundle = out / "tile/entries" / path
    entries = decode_bundle(bundle.read_bytes(), 256)
    bundle.write_bytes(encode_bundle(change(entries)))
    assert found(empty, out) == (first + 44, "leaf hash of the entry")


def test_a_hash_inserted_into_a_tile(empty: Amanah, out: Path) -> None:
    tile = out / "tile/0/001"
    data = tile.read_bytes()
    tile.write_bytes(data[: 44 * HASH_SIZE] + bytes(HASH_SIZE) + data[44 * HASH_SIZE : -HASH_SIZE])
    assert found(empty, out) == (300, "leaf hash of the entry")


@pytest.mark.parametrize("size", [1, 255, 256, 300, 512, 559])
def test_the_tail_cut_off_under_its_checkpoint(
    empty: Amanah, log: Log, tmp_path: Path, key: tuple[object, ...], size: int
) -> None:
    out = tmp_path / "cut"
    shorter = log.copy().roll_back(size)
    export_log(shorter, log.policy, out)
    (out / "checkpoint").write_bytes(log.note)
    index, _ = found(empty, out, *key)
    # How far a partial bundle went, nothing says that a reader of this checkpoint asks for.
    assert index in (size // 256 * 256, size)


@pytest.mark.parametrize("size", [1, 300, 559])
def test_an_older_copy_in_its_place(
    empty: Amanah, log: Log, out: Path, tmp_path: Path, size: int
) -> None:
    """Sound in itself: only what was seen or is held before tells."""
    older = tmp_path / "older"
    export_log(log.copy().roll_back(size), log.policy, older)
    held = tmp_path / "held"
    held.write_bytes(log.note)
    assert found(empty, older, "--checkpoint", held) == (size, f"size, against {source(held)}")
    assert verdict(empty, out).code == 0
    shutil.rmtree(out)
    shutil.copytree(older, out)
    index, compared = found(empty, out)
    assert index == size
    assert compared.startswith("size, against what was remembered in ")


def source(held: Path) -> str:
    return f"the checkpoint in {held}"


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("name", [ORIGIN, "other.example"])
def test_signed_again_with_another_key(
    empty: Amanah, log: Log, out: Path, key: tuple[object, ...], name: str, known: bool
) -> None:
    stranger = SigningKey.of(name, b"\x01" * 32)
    (out / "checkpoint").write_bytes(log.copy().publish(stranger).note)
    outcome = verdict(empty, out, *(key if known else ()))
    assert (outcome.code, outcome.json["code"]) == (1, "signature_invalid")


@pytest.mark.parametrize("index", [3, 300, 559])
def test_another_history_signed_by_its_operator(
    empty: Amanah, log: Log, out: Path, tmp_path: Path, index: int
) -> None:
    forked = tmp_path / "forked"
    export_log(log.fork(index, amount="7"), log.policy, forked)
    assert verdict(empty, out).code == 0
    shutil.rmtree(out)
    shutil.copytree(forked, out)
    place, compared = found(empty, out)
    assert place == SIZE - 1
    assert compared.startswith(f"root at size {SIZE}, against what was remembered in ")


def test_files_that_no_checkpoint_covers_are_nobody_s_word(empty: Amanah, out: Path) -> None:
    (out / "tile/0/007").write_bytes(bytes(8192))
    (out / "tile/entries/007").write_bytes(b"hello")
    assert verdict(empty, out).code == 0

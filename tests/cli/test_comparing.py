"""compare: one log, or two histories and the two checkpoints that prove it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.compare import View, compare, view_of
from ledger.errors import FormatError, LogMismatch, SetupError, SplitView, Unreachable
from ledger.exports.directory import export_log
from ledger.tlog.note import SigningKey, parse_note
from ledger.tlog.proof import parse_proof
from tests.command_line import Amanah, Site
from tests.simulator import Log
from tests.static_files import served
from tests.support import ORIGIN


def fork(log: Log, index: int) -> Log:
    """The log as it would be with another entry at `index`, signed by the same key."""
    return log.copy().edit(index, platform="other").seal()


def shown(log: Log, name: str = "", alone: bool = False) -> View:
    """The log as somebody is shown it. alone: of whom nothing is left but the checkpoint."""
    name = name or f"somebody at {log.size}"
    return view_of(name, log.note, None if alone else log, log.policy)


SIZES = [1, 2, 255, 256, 257, 512, 513, 599, 600]


@pytest.mark.parametrize("alone", [False, True])
def test_all_beginnings_of_one_log_are_one_log(large: Log, alone: bool) -> None:
    views = [shown(large.at(size), alone=alone and size < 600) for size in SIZES]
    ordered = compare(views[::-1])
    assert [view.checkpoint.size for view in ordered] == SIZES


@pytest.mark.parametrize("size", SIZES)
def test_the_same_checkpoint_needs_no_tiles(large: Log, size: int) -> None:
    log = large.at(size)
    assert len(compare([shown(log, "a", alone=True), shown(log, "b", alone=True)])) == 2


def test_everything_extends_an_empty_log(large: Log) -> None:
    assert len(compare([shown(large.at(0), alone=True), shown(large)])) == 2


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("size", SIZES[1:])
@pytest.mark.parametrize("index", [0, 1, 254, 255, 256, 511, 598])
def test_two_histories_are_proved_by_two_checkpoints(
    large: Log, index: int, size: int, alone: bool
) -> None:
    if index >= size:
        return
    one, other = fork(large, index).at(size), large
    with pytest.raises(SplitView) as split:
        compare([shown(other, "larger"), shown(one, "smaller", alone=alone)])
    assert set(split.value.notes) == {("smaller", one.note), ("larger", other.note)}


def test_a_checkpoint_alone_is_held_against_the_next_tiles_that_reach_as_far(large: Log) -> None:
    views = [shown(large.at(100)), shown(large.at(300), alone=True), shown(large)]
    assert len(compare(views)) == 3
    views[0] = shown(fork(large, 50).at(100), "liar")
    with pytest.raises(SplitView) as split:
        compare(views)
    assert [name for name, _ in split.value.notes] == ["liar", "somebody at 300"]
    forked = shown(fork(large, 50).at(300), "liar", alone=True)
    with pytest.raises(SplitView) as split:
        compare([shown(large.at(100)), forked, shown(large)])
    assert [name for name, _ in split.value.notes] == ["liar", "somebody at 600"]


def test_without_tiles_nothing_is_said(large: Log) -> None:
    with pytest.raises(Unreachable, match="nothing here holds the tiles of the 600 entries"):
        compare([shown(large.at(300)), shown(large, alone=True)])


@pytest.mark.parametrize("path", ["tile/0/000", "tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2"])
@pytest.mark.parametrize("bit", [0, 5000])
def test_tiles_are_not_believed(large: Log, path: str, bit: int) -> None:
    """A damaged tile is the fault of who serves it, and never proves two histories."""
    compared = set()
    for size in (1, 200, 300, 513, 599):
        files = large.files()
        damaged = large.copy().flip(path, bit % (8 * len(files[path])))
        try:
            compare([shown(large.at(size)), shown(damaged)])
        except LogMismatch as mismatch:
            compared.add(mismatch.compared)
    assert compared == {"tiles of somebody at 600, against the checkpoint of somebody at 600"}


@pytest.mark.parametrize("data", [b"", bytes(31), None], ids=["empty", "short", "missing"])
def test_a_tile_that_cannot_be_read(large: Log, data: bytes | None) -> None:
    damaged = large.copy()
    if data is None:
        damaged.tile = Log([], large.signer).tile  # type: ignore[method-assign]
    else:
        damaged.serve("tile/1/000.p/2", data)
    with pytest.raises(LogMismatch, match="tiles of somebody at 600"):
        compare([shown(large.at(300)), shown(damaged)])


def test_two_ledgers_are_not_compared(large: Log) -> None:
    other = Log([b"x"], SigningKey.of("x.example", bytes(32)))
    with pytest.raises(SetupError, match="these are two ledgers"):
        compare([shown(large), shown(other)])


@pytest.mark.parametrize("size", [300, 600])
def test_a_lent_tile_of_a_holder_is_not_believed_either(large: Log, size: int) -> None:
    damaged = large.copy().flip("tile/0/000", 7)
    views = [shown(large.at(100)), shown(large.at(size), "held", alone=True), shown(damaged)]
    with pytest.raises(LogMismatch, match="tiles of"):
        compare(views)


def test_a_view_names_whose_checkpoint_is_bad(large: Log) -> None:
    with pytest.raises(FormatError, match="the newspaper: note "):
        view_of("the newspaper", b"", None, large.policy)


# -- the command


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, large: Log) -> Path:
    """Exports, by name, and checkpoints of them."""
    home = tmp_path_factory.mktemp("places")
    forked = fork(large, 50)
    for name, log in {"a": large, "b": large.at(300), "liar": forked.at(400)}.items():
        export_log(log, log.policy, home / name)
        (home / f"{name}.note").write_bytes(log.note)
    return home


def test_one_log_from_a_file_a_directory_a_url_and_a_receipt(
    site: Site, receipt: bytes, tmp_path: Path
) -> None:
    out, path, note = tmp_path / "out", tmp_path / "gift.tlog-proof", tmp_path / "note"
    path.write_bytes(receipt)
    note.write_bytes(parse_proof(receipt).checkpoint)
    assert site.amanah("export", out).code == 0
    with served(out) as url:
        sources = (site.server.url, site.amanah.database, out, url, path, note)
        told = site.amanah.really("compare", *sources)
        assert (told.code, told.err) == (0, "") or "taken on trust" in told.err
        assert told.out.startswith(f"ONE LOG: all show the same history of {ORIGIN}: ")
        document = site.amanah("compare", *sources, "--vkey", site.vkey, "--json")
    assert document.code == 0
    assert document.json.keys() == {"verdict", "origin", "size", "sources"}
    assert document.json["verdict"] == "one_log"
    assert {view["source"] for view in document.json["sources"]} == set(map(str, sources))
    sizes = [view["size"] for view in document.json["sources"]]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("form", ["a liar", "a liar.note", "a.note liar", "a b liar.note"])
def test_the_evidence_of_two_histories_can_be_published(
    empty: Amanah, places: Path, large: Log, form: str
) -> None:
    sources = [places / name for name in form.split()]
    told = empty("compare", *sources, "--vkey", large.signer.verifier)
    reachable = form != "a.note liar"  # the larger one's tiles are what proves it
    assert told.code == (1 if reachable else 3)
    if not reachable:
        assert "amanah: unreachable: nothing here holds the tiles" in told.err
        return
    assert "amanah: split_view: " in told.err
    assert "can mean: " in told.err
    assert "do next:  keep both checkpoints and publish them together" in told.err
    printed = told.out.split("The checkpoint of ")[1:]
    for text, name in zip(printed, (sources[-1], sources[0]), strict=True):
        head, _, note = text.partition(":\n\n")
        assert head == str(name)
        assert parse_note(note.encode().rstrip(b"\n") + b"\n").verified_by([large.signer.verifier])
    document = empty("compare", *sources, "--vkey", large.signer.verifier, "--json").json
    assert (document["verdict"], document["code"]) == ("wrong", "split_view")
    assert {"detail", "meaning", "advice"} < document.keys()
    for view, who in zip(document["checkpoints"], ("liar", "a"), strict=True):
        assert view["checkpoint"].encode() == (places / f"{who}.note").read_bytes()


@pytest.mark.usefixtures("no_waiting")
def test_a_source_that_is_silent_is_exit_3_unless_the_others_prove_more(
    empty: Amanah, places: Path, large: Log, closed_url: str
) -> None:
    vkey = ("--vkey", large.signer.verifier)
    for options in (vkey, ()):
        silent = empty("compare", closed_url, places / "a", places / "b", *options, "--json")
        assert (silent.code, silent.json["verdict"]) == (3, "unreachable")
        proved = empty("compare", closed_url, places / "a", places / "liar", *options, "--json")
        assert (proved.code, proved.json["code"]) == (1, "split_view")
    assert empty("compare", closed_url, closed_url).code == 3


def test_another_key_proves_nothing_about_the_log(
    empty: Amanah, places: Path, tmp_path: Path
) -> None:
    stranger = SigningKey.of(ORIGIN, b"\x01" * 32).verifier
    outcome = empty("compare", places / "a", places / "b", "--vkey", stranger, "--json")
    assert (outcome.code, outcome.json["code"]) == (1, "signature_invalid")
    assert outcome.json["detail"].startswith(f"{places}/a: ")


USES: dict[str, tuple[Callable[[Path], tuple[object, ...]], str]] = {
    "one source": (lambda home: (home / "a",), "name at least two sources"),
    "no source": (lambda home: (), "Missing argument"),
    "checkpoints alone": (
        lambda home: (home / "a.note", home / "b.note"),
        "give --vkey or --policy: checkpoints alone name no key",
    ),
    "a file that is not there": (lambda home: (home / "a", home / "c"), "there is no ledger at"),
}


@pytest.mark.parametrize(("arguments", "message"), USES.values(), ids=USES)
def test_what_cannot_be_compared_is_exit_2(
    empty: Amanah, places: Path, arguments: Callable[[Path], tuple[object, ...]], message: str
) -> None:
    outcome = empty("compare", *arguments(places))
    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err

"""A long audit: what it lays by on disk, tiles of every level, and memory that does not grow."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ledger.books import Books
from ledger.chain import Linked, Tip, link
from ledger.entry import SYSTEM_PLATFORM, canonical
from ledger.errors import LogMismatch
from ledger.scratch import LeafFile, MovementFile, RefFile, ref_digest
from ledger.state import EmptyState, Movement
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.merkle import Frontier, root_at
from ledger.tlog.note import SigningKey, sign_note
from ledger.tlog.tile import TILE_HEIGHT, TILE_WIDTH, Tile, bundle_path, encode_bundle, tiles_of
from ledger.walk.upper import UpperTiles
from tests.command_line import ROOT
from tests.simulator import TIME, flipped, genesis
from tests.support import ORIGIN, PLATFORM, donation, fund, party
from tests.tlog.trees import Tree, made_up

# -- movements

AMOUNT = st.integers(0, 10**18)
MOVEMENT = st.builds(
    Movement,
    kind=st.sampled_from(("donation", "disbursement", "transfer")),
    fund=st.sampled_from(("air", "desa", "x" * 63)),
    amount=AMOUNT,
    to_fund=st.sampled_from(("", "air", "laut")),
    is_operational=st.booleans(),
    start=AMOUNT,
    end=AMOUNT,
    platform_fees=AMOUNT,
    payment_fees=AMOUNT,
    undone=AMOUNT,
    platform_fees_undone=AMOUNT,
    payment_fees_undone=AMOUNT,
    recipient=st.sampled_from(("", "air", "klinik")),
    acknowledged=st.integers(0, 2**53),
    is_received=st.booleans(),
)
INDEX = st.integers(0, 40) | st.just(100_000)


class MovementFileIsADict(RuleBasedStateMachine):
    """Whatever is set and asked, the file answers as a dict would."""

    def __init__(self) -> None:
        super().__init__()
        self.file, self.model = MovementFile(), dict[int, Movement]()

    @rule(index=INDEX, movement=MOVEMENT)
    def set(self, index: int, movement: Movement) -> None:
        self.file[index] = self.model[index] = movement

    @rule(index=INDEX)
    def ask(self, index: int) -> None:
        assert self.file.get(index) == self.model.get(index)
        assert (index in self.file) == (index in self.model)
        if index not in self.model:
            with pytest.raises(KeyError):
                self.file[index]

    @rule(index=INDEX, undone=AMOUNT)
    def undo(self, index: int, undone: int) -> None:
        if index in self.model:
            self.file[index] = self.file[index]._replace(undone=undone)
            self.model[index] = self.model[index]._replace(undone=undone)

    @invariant()
    def same(self) -> None:
        if 100_000 not in self.model:  # iterating looks at every index there could be
            assert list(self.file) == sorted(self.model)
            assert len(self.file) == len(self.model)

    def teardown(self) -> None:
        assert all(self.file[index] == movement for index, movement in self.model.items())
        self.file.close()


TestMovementFileIsADict = MovementFileIsADict.TestCase
TestMovementFileIsADict.settings = settings(max_examples=40, deadline=None)


# -- leaves


@pytest.mark.parametrize("size", [1, 255, 256, 257, 65_536, 65_537, 66_000])
def test_leaf_hashes_and_the_roots_of_earlier_sizes(size: int) -> None:
    """In whatever portions they come, and whatever was asked before."""
    tree = made_up(66_000)
    with closing(LeafFile()) as leaves:
        assert (leaves.leaf_hash(0), leaves.root_at(1)) == (None, None)
        for start in range(0, size, 700):
            leaves.add(b"".join(tree.leaves[start : min(start + 700, size)]))
            leaves.root_at(1)
        for index in (0, size // 2, size - 1):
            assert leaves.leaf_hash(index) == tree.leaves[index]
            assert leaves.root_at(index + 1) == root_at(index + 1, tree.node)
        assert (leaves.leaf_hash(size), leaves.root_at(size + 1)) == (None, None)


def test_leaf_hashes_are_kept_up_to_where_they_were_flushed(tmp_path: Path) -> None:
    tree = made_up(1_000)
    file = (tmp_path / "leaves").open("w+b")
    with closing(LeafFile(file)) as leaves:
        leaves.add(b"".join(tree.leaves[:600]))
        leaves.flush(512)
        leaves.add(b"".join(tree.leaves[512:520]))
    with closing(LeafFile((tmp_path / "leaves").open("r+b"))) as leaves:
        leaves.flush(512)
        leaves.add(b"".join(tree.leaves[512:]))
        for size in (1, 512, 513, 1_000):
            assert leaves.root_at(size) == root_at(size, tree.node)


# -- refs


def first_repeat(pairs: list[tuple[str, str]]) -> tuple[int, int] | None:
    """The obvious way: the earliest pair that stood before, and where."""
    seen: dict[tuple[str, str], int] = {}
    for index, pair in enumerate(pairs):
        if pair in seen:
            return seen[pair], index
        seen[pair] = index
    return None


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 60).map(str)), max_size=40))
@settings(deadline=None)
def test_the_earliest_repeat_is_found(pairs: list[tuple[str, str]]) -> None:
    with closing(RefFile()) as refs:
        for pair in pairs:
            refs.add(ref_digest(*pair))
        assert refs.first_repeat() == first_repeat(pairs)
        assert refs.first_repeat() == first_repeat(pairs)  # asking changes nothing


def test_the_earliest_repeat_of_many() -> None:
    """More than the files keep in memory, so that they are read back from disk."""
    chance = random.Random(5)
    pairs = [(PLATFORM, f"ref-{n}") for n in range(100_000)]
    assert first_repeat(pairs) is None
    for repeats in (0, 1, 5):
        for _ in range(repeats):
            first, second = sorted(chance.sample(range(len(pairs)), 2))
            pairs[second] = pairs[first]
        with closing(RefFile()) as refs:
            for pair in pairs:
                refs.add(ref_digest(*pair))
            assert refs.first_repeat() == first_repeat(pairs)


def test_a_platform_and_its_ref_are_not_run_together() -> None:
    with closing(RefFile()) as refs:
        for pair in (("ab", "c"), ("a", "bc"), ("abc", "d"), ("ab", "cd")):
            refs.add(ref_digest(*pair))
        assert refs.first_repeat() is None


# -- tiles of every level

LARGE = 65_537  # the first size with a tile of level 2 beside a hash that is not in it


@pytest.fixture(scope="module")
def large() -> Tree:
    return made_up(LARGE)


class Tiles:
    """The tiles of a tree, one of them altered: all of a reader that is asked here."""

    def __init__(self, tree: Tree, path: str = "", bit: int = 0) -> None:
        self.tree, self.path, self.bit = tree, path, bit

    def tile(self, tile: Tile) -> bytes:
        data = self.tree.tile(tile)
        return flipped(data, self.bit) if tile.path() == self.path else data


def compare(tiles: Any, tree: Tree) -> None:
    """What an audit does with the tiles above the leaves."""
    compared = UpperTiles(tiles)
    frontier = Frontier()
    for leaf in tree.leaves:
        compared.extend(frontier.append(leaf)[TILE_HEIGHT::TILE_HEIGHT])
    compared.check_partial()


def test_honest_tiles_of_three_levels(large: Tree) -> None:
    compare(Tiles(large), large)
    assert {tile.level for tile in tiles_of(LARGE)} == {0, 1, 2}


@pytest.mark.parametrize(
    ("path", "hash_", "first"),
    [
        ("tile/1/000", 0, 0),
        ("tile/1/000", 255, 255 * 256),
        ("tile/2/000.p/1", 0, 0),
    ],
)
def test_a_flipped_bit_of_an_upper_tile(large: Tree, path: str, hash_: int, first: int) -> None:
    with pytest.raises(LogMismatch) as caught:
        compare(Tiles(large, path, hash_ * 256 + 77), large)
    assert caught.value.index == first
    assert caught.value.compared == f"hash {hash_} of {path}"


# -- memory

AUDITOR = """
import json, sys
from pathlib import Path
import psutil
from ledger.audit import audit
from ledger.tlog.note import VerifierKey
from ledger.tlog.policy import Policy
from ledger.tlog.tile import bundle_path

class Files:
    def __init__(self, directory): self.directory = directory
    def checkpoint(self): return (self.directory / "checkpoint").read_bytes()
    def tile(self, tile): return (self.directory / tile.path()).read_bytes()
    def bundle(self, index, width): return (self.directory / bundle_path(index, width)).read_bytes()

process, peak = psutil.Process(), 0
def watch(done, size):
    global peak
    peak = max(peak, process.memory_info().rss)
report = audit(Files(Path(sys.argv[1])), Policy.for_key(VerifierKey.parse(sys.argv[2])), (), watch)
watch(0, 0)
print(json.dumps([report.is_sound, report.checkpoint.size, peak]))
"""
SIGNER = SigningKey.of(ORIGIN, b"\x07" * 32)


def honest_entries(size: int) -> Iterator[Linked]:
    """An honest log of donations, made without a store and nothing of it kept."""
    books, tip = Books(EmptyState(), {}), Tip(Frontier())
    opening = [party(PLATFORM), fund("air"), fund("desa")]
    for index in range(size):
        platform = PLATFORM if index else SYSTEM_PLATFORM
        if index == 0:
            statement = genesis(SIGNER.verifier)
        elif index <= len(opening):
            statement = opening[index - 1]
        else:
            statement = donation(("air", "desa")[index % 2], f"gift-{index}", amount="12.50")
        totals = books.post(index, platform, statement)
        yield link(tip, platform, canonical(statement), TIME, totals)


def write_files(directory: Path, size: int) -> None:
    """Every file of that log, as a static mirror would serve them."""

    def leaves() -> Iterator[bytes]:
        bundle: list[bytes] = []
        for linked in honest_entries(size):
            bundle.append(linked.entry_bytes)
            if len(bundle) == TILE_WIDTH or linked.index == size - 1:
                path = bundle_path(linked.index // TILE_WIDTH, len(bundle))
                write(path, encode_bundle(bundle))
                bundle = []
            yield linked.leaf_hash

    def write(path: str, data: bytes) -> None:
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    tree = Tree(leaves())
    for tile in tiles_of(size):
        write(tile.path(), tree.tile(tile))
    checkpoint = Checkpoint(ORIGIN, size, tree.frontier.root())
    write("checkpoint", sign_note(checkpoint.text(), SIGNER))


def peak_of(directory: Path, size: int) -> int:
    """The most memory, in bytes, that an audit of that many entries holds in its own process."""
    write_files(directory, size)
    run = subprocess.run(
        [sys.executable, "-c", AUDITOR, str(directory), str(SIGNER.verifier)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    is_sound, read, peak = json.loads(run.stdout)
    assert (is_sound, read) == (True, size)
    return int(peak)


@pytest.mark.slow
def test_the_memory_of_an_audit_does_not_grow_with_the_log(tmp_path: Path) -> None:
    small, large = peak_of(tmp_path / "small", 3_000), peak_of(tmp_path / "large", LARGE)
    assert large < 1.3 * small, f"{small / 1e6:.0f} MB, then {large / 1e6:.0f} MB"

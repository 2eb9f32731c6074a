"""Tiles and bundles: their paths, their widths, and the nodes that come of them."""

from __future__ import annotations

from base64 import b64decode
from collections import Counter
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import FormatError
from ledger.tlog.checkpoint import open_checkpoint
from ledger.tlog.merkle import (
    leaf_hash,
    prove_consistency,
    prove_inclusion,
    root_at,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from ledger.tlog.note import VerifierKey
from ledger.tlog.tile import (
    TILE_WIDTH,
    TILES_CACHED,
    FullTile,
    Tile,
    TileHashes,
    bundle_path,
    cached,
    decode_bundle,
    encode_bundle,
    expand_tile,
    middle_row,
    parse_bundle_path,
    parse_tile_path,
    tile_width,
    tiles_of,
)
from tests.support import vectors
from tests.tlog.trees import LARGE_SIZE, Tree

PATHS = vectors("tile-paths.json")
LARGE = vectors("tlog-large-tree.json")
TESSERA = vectors("tessera-testlog.json")
# Around every place where a level fills up, and the vectors' own sizes.
SIZES = [1, 2, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537, 65_792, LARGE_SIZE]


# --- paths ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("level", "index", "partial", "path"), PATHS["tile"])
def test_tile_paths(level: int, index: int, partial: int, path: str) -> None:
    tile = Tile(level, index, partial or TILE_WIDTH)
    assert tile.path() == path
    assert parse_tile_path(path) == tile


@pytest.mark.parametrize(("index", "partial", "path"), PATHS["entries"])
def test_bundle_paths(index: int, partial: int, path: str) -> None:
    assert bundle_path(index, partial or TILE_WIDTH) == path
    assert parse_bundle_path(path) == (index, partial or TILE_WIDTH)


@pytest.mark.parametrize(("index", "size", "path"), PATHS["entries_path_for_log_index"])
def test_the_bundle_of_an_entry(index: int, size: int, path: str) -> None:
    place = index // TILE_WIDTH
    assert bundle_path(place, tile_width(0, place, size)) == path


@pytest.mark.parametrize("path", [*PATHS["invalid"], "", "tile/0/000\n", "tile/entries/000\n"])
def test_other_spellings_of_a_path_are_refused(path: str) -> None:
    with pytest.raises(FormatError):
        parse_tile_path(path)
    with pytest.raises(FormatError):
        parse_bundle_path(path)


def test_tiles_and_bundles_are_not_mistaken_for_each_other() -> None:
    with pytest.raises(FormatError):
        parse_tile_path("tile/entries/000")
    with pytest.raises(FormatError):
        parse_bundle_path("tile/0/000")


@given(st.integers(0, 63), st.integers(0, 10**18 - 1), st.integers(1, 256))
def test_paths_are_read_back(level: int, index: int, width: int) -> None:
    tile = Tile(level, index, width)
    assert parse_tile_path(tile.path()) == tile
    assert parse_bundle_path(bundle_path(index, width)) == (index, width)


# --- widths --------------------------------------------------------------------------------


def test_the_widths_of_the_text() -> None:
    tiles = Counter((tile.level, tile.width) for tile in tiles_of(70_000))
    assert tiles == {(0, 256): 273, (0, 112): 1, (1, 256): 1, (1, 17): 1, (2, 1): 1}
    assert list(tiles_of(256)) == [Tile(0, 0, 256), Tile(1, 0, 1)]
    assert list(tiles_of(0)) == []


@pytest.mark.parametrize("size", SIZES)
def test_the_tiles_of_a_size_hold_every_full_subtree_once(size: int) -> None:
    tiles = list(tiles_of(size))
    for level in range(4):
        widths = [tile.width for tile in tiles if tile.level == level]
        assert sum(widths) == size >> (8 * level)
        assert widths[:-1] == [TILE_WIDTH] * len(widths[:-1])
    assert all(tile.width == tile_width(tile.level, tile.index, size) for tile in tiles)


@pytest.mark.parametrize("place", [(0, 274), (1, 2), (2, 1), (3, 0), (63, 0)])
def test_a_tile_beyond_the_tree_has_no_width(place: tuple[int, int]) -> None:
    assert tile_width(*place, 70_000) == 0


@pytest.mark.parametrize("size", LARGE["tile_sha256_by_size"])
def test_every_tile_of_the_large_tree(size: str, large_tree: Tree) -> None:
    made = {tile.path(): sha256(large_tree.tile(tile)).hexdigest() for tile in tiles_of(int(size))}
    assert made == LARGE["tile_sha256_by_size"][size]


# --- nodes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_every_node_of_a_tile_is_that_of_the_tree(size: int, large_tree: Tree) -> None:
    hashes = large_tree.from_tiles(size)
    for height in range(size.bit_length()):
        last = (size >> height) - 1
        for index in {0, last // 2, last}:
            assert hashes.node(height, index) == large_tree.node(height, index)
    assert root_at(size, hashes.node) == root_at(size, large_tree.node)


@given(data=st.data())
@settings(max_examples=50, deadline=None)
def test_proofs_made_from_tiles_verify(data: st.DataObject, large_tree: Tree) -> None:
    new = data.draw(st.integers(1, LARGE_SIZE) | st.sampled_from(SIZES))
    old = data.draw(st.integers(1, new))
    node, root = large_tree.from_tiles(new).node, root_at(new, large_tree.node)
    index = old - 1
    proof = prove_inclusion(index, new, node)
    verify_inclusion(large_tree.leaves[index], index, new, proof, root)
    old_root = root_at(old, large_tree.node)
    verify_consistency(old, new, prove_consistency(old, new, node), old_root, root)


def test_a_tile_is_read_once_and_in_the_width_of_the_size(large_tree: Tree) -> None:
    read: list[Tile] = []

    def reading(tile: Tile) -> bytes:
        read.append(tile)
        return large_tree.tile(tile)

    hashes = TileHashes(reading, LARGE_SIZE)
    for index in (0, 1, 255, LARGE_SIZE - 1):
        prove_inclusion(index, LARGE_SIZE, hashes.node)
    assert set(read) <= set(tiles_of(LARGE_SIZE))
    assert len(read) == len(set(read)) == 5


def test_no_more_tiles_are_kept_than_the_bound() -> None:
    read = Counter[Tile]()

    def reading(tile: Tile) -> FullTile:
        read[tile] += 1
        return FullTile(b"", b"")

    read_full = cached(reading)
    for index in (*range(TILES_CACHED + 1), TILES_CACHED, 0):
        read_full(Tile(0, index, TILE_WIDTH))
    assert {tile.index: times for tile, times in read.items() if times > 1} == {0: 2}


def test_sizes_share_the_full_tiles_that_were_read(large_tree: Tree) -> None:
    read = Counter[Tile]()

    def reading(tile: Tile) -> FullTile:
        read[tile] += 1
        return FullTile.of(tile, large_tree.tile(tile))

    read_full = cached(reading)
    for size in (300, 600, LARGE_SIZE):
        TileHashes(large_tree.tile, size, read_full).node(0, 7)
    assert read == {Tile(0, 0, TILE_WIDTH): 1}


@pytest.mark.parametrize("level", [0, 1])
def test_a_full_tile_and_its_middle_row_hold_every_node_inside(
    level: int, large_tree: Tree
) -> None:
    tile = Tile(level, 0, TILE_WIDTH)
    full = FullTile.of(tile, large_tree.tile(tile))
    assert full.middle == middle_row(full.hashes)
    assert len(full.middle) == 16 * 32
    for height in range(8):
        for position in range(TILE_WIDTH >> height):
            assert full.node(height, position) == large_tree.node(8 * level + height, position)


@pytest.mark.parametrize("width", [1, 2, 3, 127, 128, 129, 255, 256])
def test_a_row_of_a_tile_holds_its_whole_pairs_and_nothing_else(
    width: int, large_tree: Tree
) -> None:
    """Of heights 0 to 7: height 8 is the business of the tile above."""
    tile = Tile(0, 5, width)
    rows = expand_tile(tile, large_tree.tile(tile))
    assert len(rows) == 8
    for height, row in enumerate(rows):
        start, count = (5 * TILE_WIDTH) >> height, width >> height
        assert row == b"".join(large_tree.rows[height][start : start + count])


@pytest.mark.parametrize("size", [1, 5, 255, 256, 300])
def test_no_node_is_read_that_the_tree_does_not_have(size: int, large_tree: Tree) -> None:
    """It would be made of leaves that are not there yet: a bug of the caller."""
    hashes = large_tree.from_tiles(size)
    for height in range(10):
        count = size >> height
        if count:
            assert hashes.node(height, count - 1) == large_tree.node(height, count - 1)
        with pytest.raises(AssertionError):
            hashes.node(height, count)


@pytest.mark.parametrize("change", [-32, -1, 1, 32])
def test_a_tile_of_another_length_is_refused(change: int, large_tree: Tree) -> None:
    def reading(tile: Tile) -> bytes:
        return (large_tree.tile(tile) + bytes(32))[: 32 * tile.width + change]

    with pytest.raises(FormatError, match=r"tile/0/001\.p/44"):
        TileHashes(reading, 300).node(0, 299)


# --- bundles -------------------------------------------------------------------------------


@pytest.mark.parametrize("size", range(1, 16))
def test_a_log_built_by_tessera(size: int) -> None:
    files: dict[str, Any] = {path: b64decode(data) for path, data in TESSERA["files_b64"].items()}
    checkpoint = open_checkpoint(files[f"checkpoint.{size}"], VerifierKey.parse(TESSERA["vkey"]))
    bundle = files[bundle_path(0, size)]
    entries = decode_bundle(bundle, size)
    assert entries == [entry.encode() for entry in TESSERA["entries"][:size]]
    assert encode_bundle(entries) == bundle
    leaves = [leaf_hash(entry) for entry in entries]
    assert b"".join(leaves) == files[Tile(0, 0, size).path()]
    hashes = TileHashes(lambda tile: files[tile.path()], size)
    assert tree_root(leaves) == root_at(size, hashes.node) == checkpoint.root


@given(st.lists(st.binary(), max_size=256))
def test_bundles_are_read_back(entries: list[bytes]) -> None:
    bundle = encode_bundle(entries)
    assert decode_bundle(bundle, len(entries)) == entries
    for width in {len(entries) - 1, len(entries) + 1} - {-1}:
        with pytest.raises(FormatError):
            decode_bundle(bundle, width)
    for changed in (bundle + b"\0", bundle[:-1]):
        if changed != bundle:
            with pytest.raises(FormatError):
                decode_bundle(changed, len(entries))


def test_an_entry_is_at_most_65535_bytes() -> None:
    assert len(encode_bundle([bytes(65_535)])) == 65_537
    with pytest.raises(FormatError, match="65536 bytes"):
        encode_bundle([bytes(65_536)])

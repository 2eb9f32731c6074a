"""Roots, proofs and the frontier, against three other implementations and the definition."""

from __future__ import annotations

from base64 import b64decode
from contextlib import nullcontext
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import FormatError, ProofError
from ledger.tlog.merkle import (
    EMPTY_ROOT,
    HASH_SIZE,
    Frontier,
    frontier_at,
    leaf_hash,
    prove_consistency,
    prove_inclusion,
    root_at,
    root_from_inclusion,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from tests.support import vectors
from tests.tlog.trees import Tree, made_up, unbase64

REFERENCE = vectors("rfc6962-ct-reference.json")
LARGE = vectors("tlog-large-tree.json")
# Twelve-byte roots, which upstream takes for equal sizes: a hash is 32 bytes here.
TWELVE_BYTE_ROOTS = "additional/sizes-are-equal-one-and-proof-is-empty"

SMALL = made_up(300)


def unhex(texts: list[str]) -> list[bytes]:
    return [bytes.fromhex(text) for text in texts]


# --- the vectors ---------------------------------------------------------------------------


def test_reference_roots() -> None:
    leaves = [leaf_hash(leaf) for leaf in unhex(REFERENCE["leaves"])]
    assert [tree_root(leaves[:size]).hex() for size in range(9)] == REFERENCE["roots"]
    assert EMPTY_ROOT.hex() == REFERENCE["empty_root"]


@pytest.mark.parametrize("case", REFERENCE["inclusion"], ids=str)
def test_reference_inclusion_proofs(case: dict[str, Any]) -> None:
    tree = Tree(leaf_hash(leaf) for leaf in unhex(REFERENCE["leaves"]))
    index, size, proof = case["leaf_index"], case["tree_size"], unhex(case["proof"])
    assert prove_inclusion(index, size, tree.node) == proof
    verify_inclusion(tree.leaves[index], index, size, proof, root_at(size, tree.node))


@pytest.mark.parametrize("case", REFERENCE["consistency"], ids=str)
def test_reference_consistency_proofs(case: dict[str, Any]) -> None:
    tree = Tree(leaf_hash(leaf) for leaf in unhex(REFERENCE["leaves"]))
    old, new, proof = case["old_size"], case["new_size"], unhex(case["proof"])
    assert prove_consistency(old, new, tree.node) == proof
    verify_consistency(old, new, proof, root_at(old, tree.node), root_at(new, tree.node))


@pytest.mark.parametrize(
    "case", vectors("merkle-inclusion.json")["cases"], ids=lambda case: case["case"]
)
def test_inclusion_attacks(case: dict[str, Any]) -> None:
    leaf, root = b64decode(case["leafHash"]), b64decode(case["root"])
    with pytest.raises(ProofError) if case["wantErr"] else nullcontext():
        verify_inclusion(leaf, case["leafIdx"], case["treeSize"], unbase64(case["proof"]), root)


@pytest.mark.parametrize(
    "case", vectors("merkle-consistency.json")["cases"], ids=lambda case: case["case"]
)
def test_consistency_attacks(case: dict[str, Any]) -> None:
    roots = b64decode(case["root1"]), b64decode(case["root2"])
    refused = case["wantErr"] or case["case"] == TWELVE_BYTE_ROOTS
    with pytest.raises(ProofError) if refused else nullcontext():
        verify_consistency(case["size1"], case["size2"], unbase64(case["proof"]), *roots)


def test_large_tree_roots(large_tree: Tree) -> None:
    roots = {int(size): b64decode(root) for size, root in LARGE["roots_b64"].items()}
    assert {size: root_at(size, large_tree.node) for size in roots} == roots


def test_large_tree_inclusion_proofs(large_tree: Tree) -> None:
    for case in LARGE["inclusion"]:
        index, size, proof = case["index"], case["size"], unbase64(case["proof"])
        assert prove_inclusion(index, size, large_tree.node) == proof, case
        root = b64decode(LARGE["roots_b64"][str(size)])
        verify_inclusion(large_tree.leaves[index], index, size, proof, root)


def test_large_tree_consistency_proofs(large_tree: Tree) -> None:
    for case in LARGE["consistency"]:
        old, new, proof = case["old"], case["new"], unbase64(case["proof"])
        assert prove_consistency(old, new, large_tree.node) == proof, case
        roots = root_at(old, large_tree.node), root_at(new, large_tree.node)
        verify_consistency(old, new, proof, *roots)


# --- the laws ------------------------------------------------------------------------------


def test_every_small_inclusion_proof_verifies() -> None:
    for size in range(1, 70):
        root = tree_root(SMALL.leaves[:size])
        for index in range(size):
            proof = prove_inclusion(index, size, SMALL.node)
            verify_inclusion(SMALL.leaves[index], index, size, proof, root)


def test_every_small_consistency_proof_verifies() -> None:
    roots = [tree_root(SMALL.leaves[:size]) for size in range(70)]
    for new in range(1, 70):
        for old in range(1, new + 1):
            proof = prove_consistency(old, new, SMALL.node)
            verify_consistency(old, new, proof, roots[old], roots[new])


def test_the_frontier_agrees_with_the_definition_at_every_size() -> None:
    frontier = Frontier()
    for size, leaf in enumerate(SMALL.leaves):
        assert frontier.size == size
        assert frontier.root() == tree_root(SMALL.leaves[:size]) == root_at(size, SMALL.node)
        assert frontier.hashes == frontier_at(size, SMALL.node).hashes
        frontier.append(leaf)


def test_append_reports_the_subtrees_that_end_with_the_leaf() -> None:
    frontier = Frontier()
    for size, leaf in enumerate(SMALL.leaves, 1):
        completed = frontier.append(leaf)
        assert len(completed) == (size & -size).bit_length()
        for height, hash_ in enumerate(completed):
            assert hash_ == tree_root(SMALL.leaves[size - (1 << height) : size])


def test_a_stored_frontier_goes_on_where_it_stopped() -> None:
    whole = Frontier()
    for leaf in SMALL.leaves:
        resumed = Frontier(whole.size, tuple(whole.hashes))
        whole.append(leaf)
        resumed.append(leaf)
        assert (resumed.size, resumed.hashes) == (whole.size, whole.hashes)


def test_a_copied_frontier_leaves_the_first_alone() -> None:
    frontier = Frontier(3, SMALL.frontier.hashes[:2])
    before = frontier.size, list(frontier.hashes), frontier.root()
    frontier.copy().append(SMALL.leaves[0])
    assert (frontier.size, frontier.hashes, frontier.root()) == before


@pytest.mark.parametrize(
    ("size", "hashes"),
    [(-1, []), (0, [bytes(32)]), (1, []), (3, [bytes(32)]), (1, [bytes(31)]), (1, [bytes(33)])],
)
def test_what_is_no_frontier_is_refused(size: int, hashes: list[bytes]) -> None:
    with pytest.raises(FormatError):
        Frontier(size, hashes)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (6, 5), (-1, 5)])
def test_an_index_outside_the_tree_is_refused(index: int, size: int) -> None:
    with pytest.raises(ProofError, match="outside"):
        prove_inclusion(index, size, SMALL.node)
    with pytest.raises(ProofError, match="outside"):
        root_from_inclusion(SMALL.leaves[0], index, size, [])


@pytest.mark.parametrize(("old", "new"), [(0, 0), (0, 5), (6, 5), (-1, 5)])
def test_sizes_that_no_proof_leads_between_are_refused(old: int, new: int) -> None:
    with pytest.raises(ProofError, match="1 <= old <= new"):
        prove_consistency(old, new, SMALL.node)
    with pytest.raises(ProofError, match="1 <= old <= new"):
        verify_consistency(old, new, [], EMPTY_ROOT, EMPTY_ROOT)


def test_a_message_shows_both_roots() -> None:
    proof, root = prove_inclusion(3, 5, SMALL.node), root_at(5, SMALL.node)
    with pytest.raises(ProofError) as failure:
        verify_inclusion(SMALL.leaves[3], 3, 5, proof, bytes(32))
    assert root.hex() in str(failure.value)
    assert bytes(32).hex() in str(failure.value)


def test_a_message_says_which_of_the_two_trees_is_another() -> None:
    old_root, new_root = root_at(3, SMALL.node), root_at(5, SMALL.node)
    proof = prove_consistency(3, 5, SMALL.node)
    what = "consistency proof from size 3 to 5"
    with pytest.raises(ProofError, match=f"{what}, at the old size, leads to"):
        verify_consistency(3, 5, proof, bytes(32), new_root)
    with pytest.raises(ProofError, match=f"{what}, at the new size, leads to"):
        verify_consistency(3, 5, proof, old_root, bytes(32))
    with pytest.raises(ProofError, match="consistency proof from size 5 to 5 leads to"):
        verify_consistency(5, 5, [], old_root, new_root)


@pytest.mark.parametrize("size", range(2, 20))
def test_a_proof_too_long_or_too_short_is_called_so(size: int) -> None:
    inclusion = prove_inclusion(0, size, SMALL.node)
    with pytest.raises(ProofError, match="too long"):
        root_from_inclusion(SMALL.leaves[0], 0, size, [*inclusion, bytes(32)])
    with pytest.raises(ProofError, match="too short"):
        root_from_inclusion(SMALL.leaves[0], 0, size, inclusion[:-1])
    roots = root_at(1, SMALL.node), root_at(size, SMALL.node)
    consistency = prove_consistency(1, size, SMALL.node)
    with pytest.raises(ProofError, match="too long"):
        verify_consistency(1, size, [*consistency, bytes(32)], *roots)
    with pytest.raises(ProofError, match=r"too short|empty"):
        verify_consistency(1, size, consistency[:-1], *roots)


sizes = st.integers(1, len(SMALL.leaves))


@st.composite
def _spans(draw: st.DrawFn) -> tuple[int, int]:
    new = draw(sizes)
    return draw(st.integers(1, new)), new


spans = _spans()


def flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8 % len(data)] ^= 1 << bit % 8
    return bytes(changed)


def replaced(hashes: list[bytes], place: int, hash_: bytes) -> list[bytes]:
    return [*hashes[:place], hash_, *hashes[place + 1 :]]


@given(spans, st.data())
def test_change_any_bit_of_an_inclusion_proof_and_it_fails(
    span: tuple[int, int], data: st.DataObject
) -> None:
    index, size = span[0] - 1, span[1]
    proof = prove_inclusion(index, size, SMALL.node)
    hashes = [SMALL.leaves[index], root_at(size, SMALL.node), *proof]
    place = data.draw(st.integers(0, len(hashes) - 1))
    bit = data.draw(st.integers(0, 8 * HASH_SIZE - 1))
    leaf, root, *proof = replaced(hashes, place, flip(hashes[place], bit))
    with pytest.raises(ProofError):
        verify_inclusion(leaf, index, size, proof, root)


@given(spans, st.integers(0, 320))
def test_an_inclusion_proof_holds_for_no_other_index(span: tuple[int, int], other: int) -> None:
    index, size = span[0] - 1, span[1]
    proof, root = prove_inclusion(index, size, SMALL.node), root_at(size, SMALL.node)
    with pytest.raises(ProofError) if other != index else nullcontext():
        verify_inclusion(SMALL.leaves[index], other, size, proof, root)


@given(spans, st.data())
def test_change_any_bit_of_a_consistency_proof_and_it_fails(
    span: tuple[int, int], data: st.DataObject
) -> None:
    old, new = span
    roots = [root_at(size, SMALL.node) for size in span]
    hashes = [*roots, *prove_consistency(old, new, SMALL.node)]
    place = data.draw(st.integers(0, len(hashes) - 1))
    bit = data.draw(st.integers(0, 8 * HASH_SIZE - 1))
    old_root, new_root, *proof = replaced(hashes, place, flip(hashes[place], bit))
    with pytest.raises(ProofError):
        verify_consistency(old, new, proof, old_root, new_root)


@given(spans, st.data())
def test_a_proof_with_a_hash_more_or_fewer_fails(
    span: tuple[int, int], data: st.DataObject
) -> None:
    index, size = span[0] - 1, span[1]
    proof, root = prove_inclusion(index, size, SMALL.node), root_at(size, SMALL.node)
    place = data.draw(st.integers(0, len(proof)))
    for changed in ([*proof[:place], bytes(32), *proof[place:]], replaced(proof, place, b"")):
        with pytest.raises(ProofError):
            verify_inclusion(SMALL.leaves[index], index, size, changed, root)


@pytest.mark.parametrize("moved", [-31, -1, 1, 31])
def test_hashes_cut_at_another_place_prove_nothing(moved: int) -> None:
    """A node hashes two hashes one after the other: the same bytes, cut elsewhere, would fit."""
    root, leaf = root_at(2, SMALL.node), SMALL.leaves[0]
    joint = leaf + SMALL.leaves[1]
    left, right = joint[: HASH_SIZE + moved], joint[HASH_SIZE + moved :]
    with pytest.raises(ProofError, match=f"holds a hash of {HASH_SIZE + moved} bytes"):
        verify_inclusion(left, 0, 2, [right], root)
    with pytest.raises(ProofError, match=f"holds a hash of {HASH_SIZE - moved} bytes"):
        verify_inclusion(right, 1, 2, [left], root)
    with pytest.raises(ProofError, match=f"holds a hash of {HASH_SIZE + moved} bytes"):
        verify_consistency(1, 2, [right], left, root)


@pytest.mark.parametrize("place", ["old root", "new root", "proof"])
def test_every_hash_of_a_consistency_proof_has_32_bytes(place: str) -> None:
    for old in (3, 4, 6):
        proof = prove_consistency(old, 7, SMALL.node)
        roots = {"old root": root_at(old, SMALL.node), "new root": root_at(7, SMALL.node)}
        for cut in range(len(proof)):
            if place == "proof":
                broken = [*proof[:cut], proof[cut] + b"\0", *proof[cut + 1 :]]
            else:
                broken, roots[place] = proof, roots[place][:32] + b"\0"
            with pytest.raises(ProofError, match="consistency proof holds a hash of 33 bytes"):
                verify_consistency(old, 7, broken, roots["old root"], roots["new root"])


@given(st.lists(st.binary(max_size=40), max_size=4), *[st.integers(-2, 2**64)] * 2)
@settings(max_examples=200)
def test_made_up_proofs_raise_proof_errors_only(hashes: list[bytes], low: int, high: int) -> None:
    for proof in (hashes, [hash_.ljust(32, b"\0")[:32] for hash_ in hashes]):
        with pytest.raises(ProofError):
            verify_inclusion(bytes(32), low, high, proof, bytes(32))
        with pytest.raises(ProofError):
            verify_consistency(low, high, proof, bytes(32), bytes(31))


def test_sizes_grow_consistently_along_a_chain_of_proofs() -> None:
    frontier, seen = Frontier(), []
    for leaf in SMALL.leaves:
        frontier.append(leaf)
        seen.append((frontier.size, frontier.root()))
    for (old, old_root), (new, new_root) in pairwise(seen):
        verify_consistency(old, new, prove_consistency(old, new, SMALL.node), old_root, new_root)

"""Merkle trees of RFC 6962 and RFC 9162 over SHA-256: roots, proofs, and a frontier to append.

Every hash is 32 bytes. `index` is 0-based, `size` counts leaves. The perfect subtree
(height, index) covers the leaves [index << height, (index + 1) << height); a `NodeReader`
answers its hash and is only ever asked for subtrees that lie whole inside the tree.
Proving and checking stand in pairs; the checkers trust nothing they are given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256

from ledger.errors import FormatError, ProofError

HASH_SIZE = 32
EMPTY_ROOT = sha256(b"").digest()

NodeReader = Callable[[int, int], bytes]


def leaf_hash(data: bytes) -> bytes:
    """Hash of a leaf's bytes. The 0x00 keeps a leaf from ever passing for a node (RFC 6962)."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of the node over two subtrees, given the 32-byte hash of each."""
    return sha256(b"\x01" + left + right).digest()


def tree_root(leaf_hashes: Sequence[bytes]) -> bytes:
    """Root over leaf hashes, straight from the definition (RFC 9162 section 2.1.1).

    Slow and obvious on purpose: the tests hold everything faster against it.
    """
    if not leaf_hashes:
        return EMPTY_ROOT
    if len(leaf_hashes) == 1:
        return leaf_hashes[0]
    middle = _split(len(leaf_hashes))
    return node_hash(tree_root(leaf_hashes[:middle]), tree_root(leaf_hashes[middle:]))


class Frontier:
    """The right edge of a tree: all that is needed to append leaves and to know the root.

    `hashes` holds one hash for each perfect subtree that the leaves [0, size) split into,
    from the largest (leftmost) to the smallest, so one for each 1 bit of `size`.
    """

    __slots__ = ("hashes", "size")

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        """Take up a frontier that was stored. Raises FormatError when it cannot be one."""
        if size < 0 or len(hashes) != size.bit_count():
            raise FormatError(f"a frontier of size {size} cannot have {len(hashes)} hashes")
        for hash_ in hashes:
            if len(hash_) != HASH_SIZE:
                raise FormatError(f"a frontier hash has {len(hash_)} bytes, not {HASH_SIZE}")
        self.size = size
        self.hashes = list(hashes)

    def append(self, node: bytes, height: int = 0) -> list[bytes]:
        """Add a leaf hash; answer the hash of every perfect subtree that it completed.

        Element h is the subtree of height h that ends with this leaf; element 0 is the leaf.
        With a `height`, `node` stands for 2^height leaves at once, of which the size must be a
        multiple, and element 0 is of that height.
        """
        # The hot path of the writer, one node hash a leaf on average: hence no calls inside.
        hashes, size = self.hashes, self.size >> height
        assert size << height == self.size, "a subtree stands on a multiple of its width"
        completed = [node]
        while size & 1:
            node = sha256(b"\x01" + hashes.pop() + node).digest()
            completed.append(node)
            size >>= 1
        hashes.append(node)
        self.size += 1 << height
        return completed

    def root(self) -> bytes:
        """Root of the tree so far, at the cost of one hash for each 1 bit of `size`."""
        return _fold(self.hashes)

    def copy(self) -> Frontier:
        """A frontier of its own, so that a batch can be tried and thrown away."""
        twin = Frontier()
        twin.size, twin.hashes = self.size, self.hashes.copy()
        return twin


def frontier_at(size: int, node: NodeReader) -> Frontier:
    """The frontier of the first `size` leaves, read from stored nodes: what a writer starts on."""
    return Frontier(size, [node(*place) for place in _perfect_subtrees(0, size)])


def root_at(size: int, node: NodeReader) -> bytes:
    """Root of the first `size` leaves."""
    return _range_root(0, size, node)


def prove_inclusion(index: int, size: int, node: NodeReader) -> list[bytes]:
    """Hashes that lead from leaf `index` to the root of the first `size` leaves, sibling first.

    Raises ProofError unless 0 <= index < size. Source: RFC 9162 section 2.1.3.1.
    """
    _check_index(index, size)
    proof: list[bytes] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            proof.append(_range_root(middle, high, node))
            high = middle
        else:
            proof.append(_range_root(low, middle, node))
            low = middle
    proof.reverse()  # gathered from the root down, used from the leaf up
    return proof


def prove_consistency(old: int, new: int, node: NodeReader) -> list[bytes]:
    """Hashes showing that the first `old` leaves of the first `new` were left as they were.

    Raises ProofError unless 1 <= old <= new. Source: RFC 9162 section 2.1.4.1.
    """
    _check_sizes(old, new)
    proof: list[bytes] = []
    low, high = 0, new
    while old != high:
        middle = low + _split(high - low)
        if old <= middle:
            proof.append(_range_root(middle, high, node))
            high = middle
        else:
            proof.append(_range_root(low, middle, node))
            low = middle
    if low > 0:  # with low = 0 what remains is the old tree itself, whose root the checker has
        proof.append(_range_root(low, high, node))
    proof.reverse()
    return proof


def root_from_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """The root that `proof` leads to from leaf hash `leaf` at `index` in a tree of `size`.

    Raises ProofError for an index outside the tree, a hash that is not 32 bytes and a proof
    of the wrong length. Source: RFC 9162 section 2.1.3.2, whose names fn and sn it keeps.
    """
    _check_index(index, size)
    _check_hashes("inclusion proof", leaf, *proof)
    fn, sn = index, size - 1
    root = leaf
    for sibling in proof:
        if sn == 0:
            raise ProofError(f"inclusion proof of {len(proof)} hashes is too long for size {size}")
        if fn & 1 or fn == sn:
            root = node_hash(sibling, root)
            fn, sn = _skip_missing(fn, sn)
        else:
            root = node_hash(root, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0:
        raise ProofError(f"inclusion proof of {len(proof)} hashes is too short for size {size}")
    return root


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Check that leaf hash `leaf` stands at `index` in the tree of `size` leaves with `root`.

    leaf, root and each proof hash: 32 bytes; proof runs from the leaf's sibling upward.
    Raises ProofError when anything does not fit. Source: RFC 9162 section 2.1.3.2.
    """
    reached = root_from_inclusion(leaf, index, size, proof)
    _check_root(f"inclusion proof of index {index} in size {size}", reached, root)


def verify_consistency(
    old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes
) -> None:
    """Check that the tree of `new` leaves with `new_root` extends that of `old` with `old_root`.

    Raises ProofError when anything does not fit. An old size of 0 is refused: everything
    extends the empty tree, so a caller must decide that case knowingly.
    Source: RFC 9162 section 2.1.4.2, whose names fn, sn, fr and sr it keeps.
    """
    _check_sizes(old, new)
    _check_hashes("consistency proof", old_root, new_root, *proof)
    what = f"consistency proof from size {old} to {new}"
    if old == new:
        if proof:
            raise ProofError(f"{what} has {len(proof)} hashes, not 0")
        _check_root(what, old_root, new_root)
        return
    # An old tree that is one perfect subtree starts the proof itself, so it is not sent.
    path = [old_root, *proof] if old.bit_count() == 1 else list(proof)
    if not proof:
        raise ProofError(f"{what} is empty")
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for sibling in path[1:]:
        if sn == 0:
            raise ProofError(f"{what} is too long with {len(proof)} hashes")
        if fn & 1 or fn == sn:
            fr, sr = node_hash(sibling, fr), node_hash(sibling, sr)
            fn, sn = _skip_missing(fn, sn)
        else:
            sr = node_hash(sr, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0:
        raise ProofError(f"{what} is too short with {len(proof)} hashes")
    _check_root(f"{what}, at the old size,", fr, old_root)
    _check_root(f"{what}, at the new size,", sr, new_root)


def _split(count: int) -> int:
    """The largest power of two below `count` (at least 2): where RFC 9162 cuts a tree."""
    return 1 << ((count - 1).bit_length() - 1)


def _perfect_subtrees(low: int, high: int) -> Iterator[tuple[int, int]]:
    """(height, index) of the perfect subtrees that [low, high) splits into, largest first.

    `low` is 0 or a cut of `_split`, so every subtree is aligned to its own width.
    """
    while low < high:
        height = (high - low).bit_length() - 1
        yield height, low >> height
        low += 1 << height


def _range_root(low: int, high: int, node: NodeReader) -> bytes:
    """Root over the leaves [low, high), low as in `_perfect_subtrees`."""
    return _fold([node(*place) for place in _perfect_subtrees(low, high)])


def _fold(hashes: Sequence[bytes]) -> bytes:
    """Root over perfect subtrees ordered from the largest to the smallest."""
    if not hashes:
        return EMPTY_ROOT
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(left, root)
    return root


def _skip_missing(fn: int, sn: int) -> tuple[int, int]:
    """Climb the levels where the right edge has no sibling, so the proof has no hash."""
    while fn and not fn & 1:
        fn, sn = fn >> 1, sn >> 1
    return fn, sn


def _check_index(index: int, size: int) -> None:
    if not 0 <= index < size:
        raise ProofError(f"index {index} is outside a tree of {size}")


def _check_sizes(old: int, new: int) -> None:
    if not 1 <= old <= new:
        raise ProofError(f"no consistency proof leads from size {old} to {new}: 1 <= old <= new")


def _check_hashes(what: str, *hashes: bytes) -> None:
    for hash_ in hashes:
        if len(hash_) != HASH_SIZE:
            raise ProofError(f"{what} holds a hash of {len(hash_)} bytes, not {HASH_SIZE}")


def _check_root(what: str, reached: bytes, root: bytes) -> None:
    if reached != root:
        raise ProofError(f"{what} leads to root {reached.hex()}, not to {root.hex()}")

"""Offline proofs: one spelling, and nothing in them can be changed unnoticed."""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import FormatError, LedgerError, PolicyError, ProofError, SignatureError
from ledger.tlog.head import Checkpoint
from ledger.tlog.merkle import leaf_hash, prove_inclusion, root_at
from ledger.tlog.note import SigningKey, sign_note
from ledger.tlog.policy import Policy
from ledger.tlog.proof import TlogProof, parse_proof
from tests.support import vectors
from tests.tlog.trees import made_up

EXAMPLE = vectors("tlog-proof-example.json")
EXAMPLE_PROOF = EXAMPLE["tlog_proof"].encode()
EXAMPLE_LEAF = leaf_hash(b64decode(EXAMPLE["leaf_b64"]))
EXAMPLE_POLICY = Policy.parse(
    "log {}\nwitness w1 {}\nwitness self {}\ngroup both all w1 self\nquorum both\n".format(
        *EXAMPLE["vkeys"]
    )
)

LOG = SigningKey.of("ledger.example/amanah", bytes(32))
POLICY = Policy.for_key(LOG.verifier)
TREE = made_up(300)


def prove(index: int, size: int) -> TlogProof:
    """A receipt: the entry itself as extra."""
    checkpoint = Checkpoint(LOG.name, size, root_at(size, TREE.node))
    hashes = prove_inclusion(index, size, TREE.node)
    return TlogProof(b"entry-%d" % index, index, hashes, sign_note(checkpoint.text(), LOG))


def open_receipt(data: bytes, policy: Policy = POLICY) -> Checkpoint:
    """What a receipt's reader does: the leaf hash is that of the extra data."""
    proof = parse_proof(data)
    return proof.verify(leaf_hash(proof.extra or b""), policy)


def test_the_example_of_two_other_implementations() -> None:
    proof = parse_proof(EXAMPLE_PROOF)
    assert (proof.extra, proof.index, len(proof.hashes)) == (b"receipt", 523, 9)
    assert proof.format() == EXAMPLE_PROOF
    assert proof.verify(EXAMPLE_LEAF, EXAMPLE_POLICY).size == 700
    assert EXAMPLE_POLICY.open(proof.checkpoint).witnesses == {"w1", "self"}


def test_the_checks_fail_each_with_its_own_error() -> None:
    proof = prove(5, 9)
    assert proof.verify(TREE.leaves[5], POLICY).size == 9
    with pytest.raises(ProofError):
        proof.verify(TREE.leaves[6], POLICY)
    with pytest.raises(SignatureError):
        proof.verify(TREE.leaves[5], EXAMPLE_POLICY)
    witnessed = Policy.parse(f"log {LOG.verifier}\nwitness w {EXAMPLE['vkeys'][1]}\nquorum w\n")
    with pytest.raises(PolicyError):
        proof.verify(TREE.leaves[5], witnessed)


def test_a_proof_is_for_the_size_of_its_checkpoint() -> None:
    proof = prove(5, 9)
    later = TlogProof(proof.extra, 5, proof.hashes, prove(5, 200).checkpoint)
    with pytest.raises(ProofError):
        later.verify(TREE.leaves[5], POLICY)


VALID = prove(2, 3).format().decode()
HASH = VALID.splitlines()[3]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        VALID.replace("@v1", "@v2"),
        VALID.replace("@v1", "@v1 "),
        " " + VALID,
        "\n" + VALID,
        VALID.replace("\n", "\r\n"),
        VALID[: VALID.index("\n\n")],
        VALID[: VALID.index("\n\n") + 2],
        VALID.replace("\n\n", "\n", 1),
        VALID.replace("\n\n", "\n\n\n", 1),
        VALID.replace("extra ", "extra  "),
        VALID.replace("extra ", "Extra "),
        VALID.replace("extra ", "extra "[:-1]),
        VALID.replace(VALID.splitlines()[1], "extra "),
        VALID.replace(VALID.splitlines()[1], "extra ZW50cnktMR=="),
        VALID.replace("index 2", "index 02"),
        VALID.replace("index 2", "index +2"),
        VALID.replace("index 2", "index -2"),
        VALID.replace("index 2", "index 2 "),
        VALID.replace("index 2", f"index {2**63}"),
        VALID.replace("index 2", "index"),
        VALID.replace("index 2\n", ""),
        VALID.replace("index 2\n", "index 2\nindex 2\n"),
        VALID.replace(HASH, HASH[:-1]),
        VALID.replace(HASH, HASH + "\nAAAA"),
        VALID.replace(HASH, "\n".join([HASH] * 64)),
        VALID.replace(f"\n{HASH}\n", f"\n\n{HASH}\n"),
        VALID[:-1],
        VALID + "\n",
        VALID + "x\n",
        VALID.replace("\n3\n", "\n03\n"),
    ],
    ids=lambda text: ascii(text[22:70]),
)
def test_other_spellings_are_refused(text: str) -> None:
    parse_proof(VALID.encode())
    with pytest.raises(FormatError):
        parse_proof(text.encode())


def test_the_extra_line_and_the_hashes_may_be_missing() -> None:
    only = TlogProof(None, 0, [], prove(0, 1).checkpoint)
    assert parse_proof(only.format()) == only
    assert only.verify(TREE.leaves[0], POLICY).size == 1


@pytest.mark.parametrize("bit", range(8))
def test_change_any_bit_of_a_receipt_and_it_fails(bit: int) -> None:
    data = VALID.encode()
    assert open_receipt(data).size == 3
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << bit
        with pytest.raises(LedgerError):
            open_receipt(bytes(changed))


@given(st.integers(0, 8 * len(EXAMPLE_PROOF) - 1))
@settings(max_examples=300)
def test_change_any_bit_of_a_witnessed_proof_and_it_fails(bit: int) -> None:
    changed = bytearray(EXAMPLE_PROOF)
    changed[bit // 8] ^= 1 << bit % 8
    try:
        proof = parse_proof(bytes(changed))
        proof.verify(EXAMPLE_LEAF, EXAMPLE_POLICY)
    except LedgerError:
        return
    # Nothing authenticates extra data by itself; a receipt's is checked by its leaf hash.
    assert proof.extra != b"receipt"


@given(st.data())
def test_receipts_are_read_back_and_verify(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(TREE.leaves)))
    proof = prove(data.draw(st.integers(0, size - 1)), size)
    assert parse_proof(proof.format()) == proof
    assert open_receipt(proof.format()).size == size


@given(st.binary(min_size=1))
def test_extra_is_any_bytes(extra: bytes) -> None:
    proof = TlogProof(extra, 0, [], prove(0, 1).checkpoint)
    assert parse_proof(proof.format()) == proof
    assert b64encode(extra) in proof.format()

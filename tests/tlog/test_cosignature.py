"""Cosignatures of witnesses, made by others and made here."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import SignatureError
from ledger.tlog.cosignature import (
    ed25519_message,
    mldsa44_message,
    split_cosignature,
    verify_ed25519,
    verify_mldsa44,
)
from ledger.tlog.head import Checkpoint
from ledger.tlog.note import VerifierKey, parse_note
from tests.support import vectors

SKYLIGHT = vectors("skylight-witness-cosignatures.json")["cases"]
GO_MADE = vectors("cosignatures-go-made.json")

CHECKPOINT = Checkpoint("ledger.example/amanah", 7, bytes(range(32)))
EXTENDED = CHECKPOINT._replace(extensions=("more",))
TIME = 1_900_000_000
ED25519 = Ed25519PrivateKey.from_private_bytes(bytes(32))
ED25519_PUBLIC = ED25519.public_key().public_bytes_raw()
MLDSA44 = MLDSA44PrivateKey.from_seed_bytes(bytes(32))
MLDSA44_PUBLIC = MLDSA44.public_key().public_bytes_raw()


def timed(timestamp: int, signature: bytes) -> bytes:
    return timestamp.to_bytes(8, "big") + signature


def by_ed25519(timestamp: int = TIME) -> bytes:
    return timed(timestamp, ED25519.sign(ed25519_message(timestamp, CHECKPOINT.text())))


def by_mldsa44(timestamp: int = TIME, checkpoint: Checkpoint = CHECKPOINT) -> bytes:
    return timed(timestamp, MLDSA44.sign(mldsa44_message("w", timestamp, checkpoint)))


@pytest.mark.parametrize("case", SKYLIGHT, ids=lambda case: case["vkey"].partition("+")[0])
def test_cosignatures_of_a_sunlight_log(case: dict[str, Any]) -> None:
    key = VerifierKey.parse(case["vkey"])
    assert parse_note(case["note"].encode()).verified_by([key]) == [key]


@pytest.mark.parametrize("vkey", GO_MADE["cosigner_vkeys"], ids=["ed25519", "mldsa44"])
def test_cosignatures_made_in_go(vkey: str) -> None:
    key = VerifierKey.parse(vkey)
    note = parse_note(GO_MADE["signed_checkpoint"].encode())
    assert note.verified_by([key]) == [key]
    (signature,) = (s.signature for s in note.signatures if s.key_id == key.key_id)
    assert split_cosignature(signature)[0] == 1_795_487_866


def test_the_messages_are_those_of_the_text() -> None:
    assert ed25519_message(1679315147, b"text\n") == b"cosignature/v1\ntime 1679315147\ntext\n"
    assert mldsa44_message("w", 5, Checkpoint("log", 9, bytes(32))) == (
        b"subtree/v1\n\0" + b"\1w" + bytes(7) + b"\5" + b"\3log" + bytes(8) + bytes(7) + b"\x09"
    ) + bytes(32)


@pytest.mark.parametrize("timestamp", [0, 1, TIME, 2**63 - 1])
def test_every_time_up_to_2_63_is_taken(timestamp: int) -> None:
    verify_ed25519(ED25519_PUBLIC, by_ed25519(timestamp), CHECKPOINT.text())
    verify_mldsa44("w", MLDSA44_PUBLIC, by_mldsa44(timestamp), CHECKPOINT.text())


@pytest.mark.parametrize("timestamp", [2**63, 2**64 - 1])
def test_a_later_time_is_refused_though_it_was_signed(timestamp: int) -> None:
    with pytest.raises(SignatureError, match="timestamp"):
        verify_ed25519(ED25519_PUBLIC, by_ed25519(timestamp), CHECKPOINT.text())
    with pytest.raises(SignatureError, match="timestamp"):
        verify_mldsa44("w", MLDSA44_PUBLIC, by_mldsa44(timestamp), CHECKPOINT.text())


@given(st.integers(0, 8 * (8 + 64) - 1))
def test_change_any_bit_of_an_ed25519_cosignature_and_it_fails(bit: int) -> None:
    changed = bytearray(by_ed25519())
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SignatureError):
        verify_ed25519(ED25519_PUBLIC, bytes(changed), CHECKPOINT.text())


@given(st.integers(0, 8 * (8 + 2420) - 1))
def test_change_any_bit_of_an_mldsa44_cosignature_and_it_fails(bit: int) -> None:
    changed = bytearray(MLDSA44_COSIGNATURE)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SignatureError):
        verify_mldsa44("w", MLDSA44_PUBLIC, bytes(changed), CHECKPOINT.text())


MLDSA44_COSIGNATURE = by_mldsa44()


@pytest.mark.parametrize(
    "other",
    [
        CHECKPOINT._replace(origin="ledger.example/b"),
        CHECKPOINT._replace(size=8),
        CHECKPOINT._replace(root=bytes(32)),
    ],
    ids=["origin", "size", "root"],
)
def test_a_cosignature_is_for_one_tree(other: Checkpoint) -> None:
    with pytest.raises(SignatureError):
        verify_ed25519(ED25519_PUBLIC, by_ed25519(), other.text())
    with pytest.raises(SignatureError):
        verify_mldsa44("w", MLDSA44_PUBLIC, MLDSA44_COSIGNATURE, other.text())


def test_an_mldsa44_cosignature_names_its_cosigner() -> None:
    with pytest.raises(SignatureError):
        verify_mldsa44("v", MLDSA44_PUBLIC, MLDSA44_COSIGNATURE, CHECKPOINT.text())


def test_extension_lines_are_covered_by_ed25519_alone() -> None:
    verify_mldsa44("w", MLDSA44_PUBLIC, MLDSA44_COSIGNATURE, EXTENDED.text())
    with pytest.raises(SignatureError):
        verify_ed25519(ED25519_PUBLIC, by_ed25519(), EXTENDED.text())


@pytest.mark.parametrize("size", [0, 7, 8, 9, 71, 73, 8 + 2419, 8 + 2421])
def test_a_cosignature_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(SignatureError, match="bytes"):
        verify_ed25519(ED25519_PUBLIC, bytes(size), CHECKPOINT.text())
    with pytest.raises(SignatureError, match="bytes"):
        verify_mldsa44("w", MLDSA44_PUBLIC, bytes(size), CHECKPOINT.text())
    if size <= 8:
        with pytest.raises(SignatureError, match="no room"):
            split_cosignature(bytes(size))


@pytest.mark.parametrize("text", [b"", b"no checkpoint\n", b"\xff\n"])
def test_mldsa44_cosigns_checkpoints_only(text: bytes) -> None:
    with pytest.raises(SignatureError, match="nothing that ML-DSA-44 can cosign"):
        verify_mldsa44("w", MLDSA44_PUBLIC, MLDSA44_COSIGNATURE, text)


def test_an_origin_longer_than_its_length_byte_cannot_be_cosigned_by_mldsa44() -> None:
    text = CHECKPOINT._replace(origin="a" * 256).text()
    with pytest.raises(SignatureError, match="256 bytes"):
        verify_mldsa44("w", MLDSA44_PUBLIC, MLDSA44_COSIGNATURE, text)

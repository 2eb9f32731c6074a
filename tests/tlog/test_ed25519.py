"""One verdict for every odd key and signature; the odd ones are made with `curve.py`."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import FormatError, SignatureError
from ledger.tlog.ed25519 import check_public_key, verify
from tests.tlog import curve

SECRET, NONCE = 0x1234567890ABCDEF1234567890ABCDEF % curve.L, 0xFEDCBA0987654321
MESSAGE = b"amanah"
PUBLIC = curve.encode(curve.multiply(SECRET, curve.BASE))


def little(number: int) -> bytes:
    return number.to_bytes(32, "little")


def sign(r: bytes, public: bytes = PUBLIC, message: bytes = MESSAGE, nonce: int = NONCE) -> bytes:
    """R || S with S = nonce + h * secret: right when r and public encode [nonce]B, [secret]B."""
    return r + little((nonce + curve.challenge(r, public, message) * SECRET) % curve.L)


R = curve.multiply(NONCE, curve.BASE)


# RFC 8032 section 7.1, tests 1 to 3: public key, R, S, message.
@pytest.mark.parametrize(
    "parts",
    [
        (
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155",
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            "",
        ),
        (
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da",
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
            "72",
        ),
        (
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac",
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
            "af82",
        ),
    ],
    ids=["no message", "one byte", "two bytes"],
)
def test_rfc8032_signatures(parts: tuple[str, str, str, str]) -> None:
    public, r, s, message = map(bytes.fromhex, parts)
    verify(public, r + s, message)


def test_the_curve_of_these_tests_signs_as_everyone_does() -> None:
    verify(PUBLIC, sign(curve.encode(R)), MESSAGE)
    assert len({curve.encode(point) for point in curve.SMALL_ORDER}) == 8
    assert curve.multiply(curve.L, curve.BASE) == curve.IDENTITY


# --- keys ----------------------------------------------------------------------------------


@pytest.mark.parametrize("point", curve.SMALL_ORDER, ids=lambda p: curve.encode(p).hex()[:8])
def test_a_key_of_small_order_is_refused(point: curve.Point) -> None:
    with pytest.raises(FormatError, match="small order"):
        check_public_key(curve.encode(point))


def test_the_identity_as_key_verifies_nothing() -> None:
    identity = curve.encode(curve.IDENTITY)
    # [S]B = R holds for any message: `cryptography` by itself accepts this.
    forged = curve.encode(curve.BASE) + little(1)
    Ed25519PublicKey.from_public_bytes(identity).verify(forged, b"any")
    with pytest.raises(SignatureError, match="small order"):
        verify(identity, forged, b"any")


@pytest.mark.parametrize("y", range(curve.P, 2**255))
@pytest.mark.parametrize("sign", [0, 1])
def test_a_key_spelled_above_the_prime_is_refused(y: int, sign: int) -> None:
    with pytest.raises(FormatError, match="not canonical"):
        check_public_key(little(y | sign << 255))


@pytest.mark.parametrize("y", [1, curve.P - 1])
def test_negative_zero_as_x_is_refused(y: int) -> None:
    with pytest.raises(FormatError):
        check_public_key(little(y | 1 << 255))


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_key_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(FormatError, match=f"{size} bytes"):
        check_public_key(PUBLIC[:1] * size)


@given(st.binary(min_size=32, max_size=32))
def test_exactly_the_points_of_the_curve_are_keys(raw: bytes) -> None:
    point = curve.decode(raw)
    good = point is not None and curve.encode(point) == raw and point not in curve.SMALL_ORDER
    try:
        check_public_key(raw)
    except FormatError:
        assert not good
    else:
        assert good


# --- signatures ----------------------------------------------------------------------------


def test_s_at_or_above_the_order_is_refused() -> None:
    signature = sign(curve.encode(R))
    s = int.from_bytes(signature[32:], "little")
    for other in range(s + curve.L, 2**256, curve.L):
        with pytest.raises(SignatureError, match="S is not below"):
            verify(PUBLIC, signature[:32] + little(other), MESSAGE)


@pytest.mark.parametrize("torsion", curve.SMALL_ORDER[1:], ids=lambda p: curve.encode(p).hex()[:8])
def test_r_moved_by_torsion_is_refused(torsion: curve.Point) -> None:
    r = curve.encode(curve.add(R, torsion))
    signature = sign(r)
    # A verifier that multiplies by the cofactor 8 would take it: 8R = 8([S]B - [h]A).
    h = curve.challenge(r, PUBLIC, MESSAGE)
    s = int.from_bytes(signature[32:], "little")
    key = curve.multiply(SECRET, curve.BASE)
    difference = curve.add(
        curve.multiply(s, curve.BASE), curve.negative(curve.multiply(h % curve.L, key))
    )
    assert curve.multiply(8, difference) == curve.multiply(8, curve.add(R, torsion))
    with pytest.raises(SignatureError):
        verify(PUBLIC, signature, MESSAGE)


@pytest.mark.parametrize(
    ("r", "said"),
    [
        (1 | 1 << 255, "did not sign"),
        (curve.P + 1, "not canonical: y of R"),
        (curve.P + 1 | 1 << 255, "not canonical: y of R"),
    ],
    ids=["negative zero", "above the prime", "both"],
)
def test_only_the_canonical_spelling_of_r_is_taken(r: int, said: str) -> None:
    # R is the identity: S = h * secret, whatever spelling of R went into h.
    verify(PUBLIC, sign(little(1), nonce=0), MESSAGE)
    with pytest.raises(SignatureError, match=said):
        verify(PUBLIC, sign(little(r), nonce=0), MESSAGE)


def test_a_key_moved_by_torsion_signs_only_where_the_equation_holds_byte_for_byte() -> None:
    public = curve.encode(curve.add(curve.multiply(SECRET, curve.BASE), curve.TORSION))
    check_public_key(public)
    verdicts = set()
    for number in range(40):
        message = b"%d" % number
        signature = sign(curve.encode(R), public, message)
        # [h]A = [h][secret]B + [h]T, and [h]T vanishes only when 8 divides h.
        holds = curve.challenge(signature[:32], public, message) % 8 == 0
        try:
            verify(public, signature, message)
        except SignatureError:
            assert not holds
        else:
            assert holds
        verdicts.add(holds)
    assert verdicts == {True, False}


@pytest.mark.parametrize("size", [0, 63, 65])
def test_a_signature_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(SignatureError, match=f"{size} bytes"):
        verify(PUBLIC, (sign(curve.encode(R)) + b"\0")[:size], MESSAGE)


@given(st.integers(0, 8 * (32 + 64 + len(MESSAGE)) - 1))
def test_change_any_bit_of_key_signature_or_message_and_it_fails(bit: int) -> None:
    whole = bytearray(PUBLIC + sign(curve.encode(R)) + MESSAGE)
    whole[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SignatureError):
        verify(bytes(whole[:32]), bytes(whole[32:96]), bytes(whole[96:]))


@given(st.binary(max_size=40), st.binary(max_size=70), st.binary())
def test_made_up_signatures_raise_signature_errors_only(
    public: bytes, signature: bytes, message: bytes
) -> None:
    for key in (public, PUBLIC):
        with pytest.raises(SignatureError):
            verify(key, signature, message)

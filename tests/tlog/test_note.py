"""Keys, signature lines and notes, against Go's sumdb/note and the C2SP text."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import FormatError, SignatureError
from ledger.tlog.note import (
    ED25519,
    ED25519_COSIGNATURE,
    MLDSA44_COSIGNATURE,
    NOTE_BYTES_MAX,
    Note,
    Signature,
    SigningKey,
    VerifierKey,
    check_key_name,
    parse_note,
    parse_signatures,
    sign_note,
)
from tests.support import vectors

NOTES = vectors("signed-note.json")
VKEYS = vectors("vkeys.json")
LOG = SigningKey.of("ledger.example/amanah", bytes(range(32)))
OTHER = SigningKey.of("other.example", bytes(range(1, 33)))
TEXT = b"ledger.example/amanah\n\nand a blank line within\n"


def named(case: dict[str, Any]) -> str:
    return str(case["name"])


# --- the vectors ---------------------------------------------------------------------------


@pytest.mark.parametrize("case", VKEYS["valid"], ids=named)
def test_vkeys(case: dict[str, Any]) -> None:
    key = VerifierKey.parse(case["vkey"])
    parts = key.name, key.key_id.hex(), key.type, key.public.hex()
    assert parts == (case["name"], case["key_id"], case["type"], case["key"])
    assert str(key) == case["vkey"]
    assert VerifierKey.of(key.name, key.type, key.public) == key


@pytest.mark.parametrize("case", VKEYS["malformed"], ids=named)
def test_malformed_vkeys_are_refused(case: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        VerifierKey.parse(case["vkey"])


@pytest.mark.parametrize("case", NOTES["valid"], ids=named)
def test_signed_notes(case: dict[str, Any]) -> None:
    data = case["note"].encode()
    note = parse_note(data)
    verified = note.verified_by([VerifierKey.parse(vkey) for vkey in case["vkeys"]])
    assert [key.name for key in verified] == case["verified"]
    others = {name for name, _, _ in note.signatures} - {key.name for key in verified}
    assert others == set(case["unverified"])
    assert note.format() == data


def test_signing_gives_the_same_bytes_as_go() -> None:
    case = NOTES["deterministic_signing"]
    key = SigningKey.parse(case["skey"])
    assert sign_note(case["text"], key) == sign_note(case["text"].encode(), key)
    assert sign_note(case["text"], key) == case["signed"].encode()
    assert str(key) == case["skey"]


@pytest.mark.parametrize("case", NOTES["unverifiable"], ids=named)
def test_signatures_by_unknown_keys_verify_nothing(case: dict[str, Any]) -> None:
    assert parse_note(case["note"].encode()).verified_by([]) == []


@pytest.mark.parametrize("case", NOTES["invalid_signature"], ids=named)
def test_a_wrong_signature_by_a_known_key_refuses_the_note(case: dict[str, Any]) -> None:
    note = parse_note(case["note"].encode())
    with pytest.raises(SignatureError, match="PeterNeumann"):
        note.verified_by([VerifierKey.parse(vkey) for vkey in case["vkeys"]])


@pytest.mark.parametrize("case", NOTES["malformed"], ids=named)
def test_malformed_notes_are_refused(case: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        parse_note(case["note"].encode())


def test_the_checkpoint_of_the_c2sp_text_is_read() -> None:
    note = parse_note(NOTES["checkpoint_with_cosignature_syntax_only"]["note"].encode())
    assert [len(signature.signature) for signature in note.signatures] == [64, 8 + 64]


# --- keys ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "ledger.example/amanah", "saksi-é", "oid/1.3.6.1", "—"])
def test_key_names(name: str) -> None:
    check_key_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", "a b", "a+b", "a\n", "\ta", "a\x00", "a\x7f"),
        *("a\x85", "a\xa0", "a\u1680b", "a\u2028", "a\u3000", "a\ud800"),
    ],
    ids=ascii,
)
def test_what_cannot_name_a_key_is_refused(name: str) -> None:
    with pytest.raises(FormatError):
        check_key_name(name)
    with pytest.raises(FormatError):
        SigningKey.of(name, bytes(32))


@pytest.mark.parametrize("type_", [0, 2, 3, 5, 7, 0xFA, 0xFF])
def test_other_signature_types_are_refused(type_: int) -> None:
    with pytest.raises(FormatError, match="signature type"):
        VerifierKey.of("a", type_, LOG.verifier.public)


def test_one_public_key_has_an_id_for_each_type() -> None:
    types = ED25519, ED25519_COSIGNATURE
    assert len({VerifierKey.of("a", type_, LOG.verifier.public).key_id for type_ in types}) == 2


@pytest.mark.parametrize("size", [32, 1311, 1313])
def test_an_mldsa44_key_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(FormatError, match=f"{size} bytes"):
        VerifierKey.of("a", MLDSA44_COSIGNATURE, bytes(size))


def test_a_name_that_subtree_v1_cannot_count_has_no_mldsa44_key() -> None:
    assert VerifierKey.of("a" * 255, MLDSA44_COSIGNATURE, bytes(1312)).type == MLDSA44_COSIGNATURE
    with pytest.raises(FormatError, match="256 bytes"):
        VerifierKey.of("a" * 256, MLDSA44_COSIGNATURE, bytes(1312))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "PRIVATE+KEY",
        str(LOG.verifier),
        str(LOG) + "\n",
        str(LOG).lower(),
        str(LOG).replace(LOG.verifier.key_id.hex(), "00000000"),
        str(LOG).replace("+AQ", "+BA"),
        str(LOG)[:-1],
        str(LOG)[:-4],
    ],
)
def test_malformed_signing_keys_are_refused_without_repeating_them(text: str) -> None:
    with pytest.raises(FormatError) as failure:
        SigningKey.parse(text)
    assert str(LOG)[-20:-1] not in str(failure.value)


def test_a_signing_key_shows_its_secret_to_str_alone() -> None:
    assert SigningKey.parse(str(LOG)) == LOG
    secret = str(LOG).rpartition("+")[2]
    assert secret not in repr(LOG)
    assert repr(bytes(range(32)))[2:-1] not in repr(LOG)


# --- notes ---------------------------------------------------------------------------------


def test_a_note_is_signed_and_read_back() -> None:
    data = sign_note(TEXT, LOG, OTHER)
    note = parse_note(data)
    assert note == Note(TEXT, [LOG.signature(TEXT), OTHER.signature(TEXT)])
    assert data == TEXT + b"\n" + LOG.sign(TEXT) + OTHER.sign(TEXT)
    assert note.verified_by([OTHER.verifier, LOG.verifier]) == [LOG.verifier, OTHER.verifier]


def test_a_signature_says_itself_in_base64() -> None:
    signature = LOG.signature(TEXT)
    assert signature.line() == f"— {LOG.name} {signature.base64()}\n".encode()
    assert signature.base64() == b64encode(signature.key_id + signature.signature).decode()
    LOG.verifier.verify(TEXT, signature.signature)


@pytest.mark.parametrize("text", [b"", b"no newline", b"tab\t\n", b"cr\r\n", b"nul\0\n", b"\xff\n"])
def test_text_that_no_note_can_carry_is_refused(text: bytes) -> None:
    with pytest.raises(FormatError):
        sign_note(text, LOG)


def test_a_note_has_1_to_100_signatures_and_at_most_1_mb() -> None:
    parse_note(sign_note(TEXT, *[LOG] * 100))
    with pytest.raises(FormatError, match="0 signatures"):
        sign_note(TEXT)
    with pytest.raises(FormatError, match="101 signatures"):
        sign_note(TEXT, *[LOG] * 101)
    line = LOG.sign(b"\n")
    rest = b"\n\n" + line
    longest = b"x" * (NOTE_BYTES_MAX - len(rest)) + rest
    assert len(parse_note(longest).text) == NOTE_BYTES_MAX - len(line) - 1
    with pytest.raises(FormatError, match="bytes"):
        parse_note(b"x" + longest)
    with pytest.raises(FormatError, match="bytes"):
        sign_note(b"x" * NOTE_BYTES_MAX + b"\n", LOG)


def test_the_first_of_several_signatures_by_one_key_counts() -> None:
    good = LOG.signature(TEXT)
    wrong = good._replace(signature=bytes(64))
    assert Note(TEXT, [good, wrong]).verified_by([LOG.verifier]) == [LOG.verifier]
    with pytest.raises(SignatureError):
        Note(TEXT, [wrong, good]).verified_by([LOG.verifier])


def test_a_signature_with_only_name_or_id_of_a_known_key_is_passed_over() -> None:
    wrong = Signature(LOG.name, LOG.verifier.key_id, bytes(64))
    near = [wrong._replace(name="x"), wrong._replace(key_id=bytes(4))]
    note = Note(TEXT, [*near, LOG.signature(TEXT)])
    assert note.verified_by([LOG.verifier]) == [LOG.verifier]


def test_two_keys_under_one_name_and_id_are_refused() -> None:
    twin = OTHER.verifier._replace(name=LOG.name, key_id=LOG.verifier.key_id)
    note = parse_note(sign_note(TEXT, LOG))
    assert note.verified_by([LOG.verifier, LOG.verifier]) == [LOG.verifier]
    with pytest.raises(FormatError, match="two keys"):
        note.verified_by([LOG.verifier, twin])


LINE = LOG.sign(TEXT).decode()


@pytest.mark.parametrize(
    "block",
    [
        "",
        "\n",
        LINE + "\n",
        LINE[:-1],
        LINE.replace("—", "-"),
        LINE.replace("— ", "—"),
        LINE.replace("— ", "—  "),
        LINE.replace("— ", "—\u00a0"),
        LINE.replace("\n", " \n"),
        LINE.replace("\n", "\r\n"),
        LINE.replace("\n", "=\n"),
        LINE.replace("=\n", "\n"),
        LINE.replace("=\n", "==\n"),
        LINE.replace("amanah ", "amanah  "),
        LINE.replace("amanah ", "ama+nah "),
        LINE.replace("amanah ", "amanah\x7f "),
        "— name \n",
        "— name\n",
        "— name AAAAAA==\n",
        "— name AAAAAAB=\n",
        "— name AAAAAA-_\n",
        " " + LINE,
        "x\n" + LINE,
    ],
    ids=ascii,
)
def test_malformed_signature_blocks_are_refused(block: str) -> None:
    with pytest.raises(FormatError):
        parse_signatures(block.encode())


def test_signature_lines_without_text_are_no_note() -> None:
    with pytest.raises(FormatError, match="no blank line"):
        parse_note(LINE.encode())


def test_a_vkey_without_a_key_is_refused() -> None:
    with pytest.raises(FormatError, match="no key"):
        VerifierKey.parse(f"{LOG.name}+{LOG.verifier.key_id.hex()}+")


names = st.text(
    st.characters(exclude_categories=["Z", "Cc", "Cs"], exclude_characters="+"), min_size=1
)
texts = st.text(st.characters(exclude_categories=["Cc", "Cs"]) | st.just("\n")).map(
    lambda text: text.encode() + b"\n"
)


@given(names, st.binary(min_size=32, max_size=32), texts)
def test_keys_and_notes_are_read_back(name: str, seed: bytes, text: bytes) -> None:
    key = SigningKey.of(name, seed)
    assert SigningKey.parse(str(key)) == key
    assert VerifierKey.parse(str(key.verifier)) == key.verifier
    note = parse_note(sign_note(text, key))
    assert (note.text, note.verified_by([key.verifier])) == (text, [key.verifier])

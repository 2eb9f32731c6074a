"""Laws of every parser of the floor: refuse with our own errors, or take the one spelling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import FormatError, LedgerError
from ledger.tlog.checkpoint import Checkpoint, parse_checkpoint
from ledger.tlog.ed25519 import check_public_key
from ledger.tlog.note import SigningKey, VerifierKey, parse_note, parse_signatures, sign_note
from ledger.tlog.policy import Policy
from ledger.tlog.proof import TlogProof, parse_proof
from ledger.tlog.spelling import decode_base64, encode_base64, parse_decimal, shown
from ledger.tlog.tile import (
    Tile,
    bundle_path,
    decode_bundle,
    encode_bundle,
    parse_bundle_path,
    parse_tile_path,
)
from tests.support import vectors

LOG = SigningKey.of("ledger.example/amanah", bytes(32))
CHECKPOINT = Checkpoint(LOG.name, 7, bytes(32), ("extension",))
NOTE = sign_note(CHECKPOINT.text(), LOG, SigningKey.of("saksi-é", bytes(range(32))))
POLICY_TEXT = vectors("tlog-policy.json")["valid"][-1]["policy"].encode()


class Format(NamedTuple):
    """A parser, what spells its result again (None where nothing does), and a text it takes."""

    name: str
    parse: Callable[[Any], Any]
    spell: Callable[[Any], bytes | str] | None
    sample: bytes | str

    def hold(self, text: Any) -> bool:
        """The law of every parser: whether it takes `text`, which is then its one spelling.

        Else it says why not, by an error of ours and in a few words.
        """
        try:
            value = self.parse(text)
        except LedgerError as error:
            message = str(error)
            assert 0 < len(message) < 600, message
            return False
        assert self.spell is None or self.spell(value) == text
        return True


FORMATS = [
    Format("decimal", lambda text: parse_decimal(text, "x"), str, "1234"),
    Format("base64", lambda text: decode_base64(text, "x"), encode_base64, "c2Frc2k="),
    Format("vkey", VerifierKey.parse, str, str(LOG.verifier)),
    Format("signing key", SigningKey.parse, str, str(LOG)),
    Format("note", parse_note, lambda note: note.format(), NOTE),
    Format(
        "signatures",
        parse_signatures,
        lambda signatures: b"".join(signature.line() for signature in signatures),
        LOG.sign(b"text\n"),
    ),
    Format("checkpoint", parse_checkpoint, Checkpoint.text, CHECKPOINT.text()),
    Format(
        "tlog-proof", parse_proof, TlogProof.format, TlogProof(b"x", 5, [bytes(32)], NOTE).format()
    ),
    Format("tile path", parse_tile_path, Tile.path, "tile/0/x001/x234/067.p/89"),
    Format("bundle path", parse_bundle_path, lambda place: bundle_path(*place), "tile/entries/001"),
    Format("bundle", lambda data: decode_bundle(data, 2), encode_bundle, b"\0\3one\0\3two"),
    Format("policy", Policy.parse, None, POLICY_TEXT),
    Format("policy as str", Policy.parse, None, POLICY_TEXT.decode()),
    Format("public key", check_public_key, None, LOG.verifier.public),
]

# What lenient parsers let through, to be put into good texts.
ODD_BYTES = st.binary(max_size=3) | st.sampled_from(
    [b" ", b"\n", b"\r\n", b"\t", b"\0", b"=", b"+", b"_", b"0", b"x000/", b"\xc2\xa0", b"\xff"]
)
ODD_TEXT = st.text(st.characters(), max_size=3) | st.sampled_from(
    [" ", "\n", "\r\n", "\t", "\0", "=", "+", "_", "0", "x000/", "\u00a0", "\u0661", "\ud800"]
)


@st.composite
def mutated(draw: st.DrawFn, sample: Any) -> Any:
    """`sample` with one to three slices replaced, doubled or cut out."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(sample)))
        end = draw(st.integers(start, min(start + 4, len(sample))))
        odd = draw(
            st.sampled_from([sample[start:end] * 2, sample[:0]])
            | (ODD_BYTES if isinstance(sample, bytes) else ODD_TEXT)
        )
        sample = sample[:start] + odd + sample[end:]
    return sample


def refusal(format_: Format, text: bytes | str) -> str:
    """What the parser says against `text`; empty when it takes it."""
    try:
        format_.parse(text)
    except LedgerError as error:
        return str(error)
    return ""


def noise(sample: bytes | str) -> st.SearchStrategy[Any]:
    if isinstance(sample, bytes):
        return st.binary()
    return st.text(st.characters(codec=None))


@pytest.mark.parametrize("format_", FORMATS, ids=lambda format_: format_.name)
@given(st.data())
@settings(max_examples=150, deadline=None)
def test_anything_is_refused_by_our_errors_or_spelled_the_same_again(
    format_: Format, data: st.DataObject
) -> None:
    format_.hold(data.draw(mutated(format_.sample) | noise(format_.sample)))


@pytest.mark.parametrize("format_", FORMATS, ids=lambda format_: format_.name)
def test_the_samples_are_taken(format_: Format) -> None:
    assert format_.hold(format_.sample)


@pytest.mark.parametrize("format_", FORMATS, ids=lambda format_: format_.name)
def test_a_message_stays_short_whatever_it_is_about(format_: Format) -> None:
    length = 100_000
    for text in (format_.sample * (length // len(format_.sample)), format_.sample[:1] * length):
        assert len(refusal(format_, text)) < 400


def test_what_is_shown_is_cut() -> None:
    assert shown("short") == "'short'"
    assert shown(b"x" * 61) == f"{b'x' * 60!r}... (61 long)"


@pytest.mark.parametrize("text", ["", "00", "01", " 1", "1 ", "+1", "1_0", "1\n", "١", "²", "1e3"])
def test_numbers_that_int_would_take_are_refused(text: str) -> None:
    with pytest.raises(FormatError):
        parse_decimal(text, "x")


@pytest.mark.parametrize("number", [0, 1, 10, 2**63 - 1])
def test_numbers_up_to_2_63_are_taken(number: int) -> None:
    assert parse_decimal(str(number), "x") == number

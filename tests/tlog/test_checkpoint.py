"""Checkpoints: one spelling, one signer, one origin."""

from __future__ import annotations

from base64 import b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import FormatError, SignatureError
from ledger.tlog.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint
from ledger.tlog.merkle import tree_root
from ledger.tlog.note import ED25519_COSIGNATURE, SigningKey, VerifierKey, sign_note
from tests.support import vectors
from tests.tlog.trees import made_up

LOG = SigningKey.of("ledger.example/amanah", bytes(32))
OTHER = SigningKey.of("other.example", bytes(32))
CHECKPOINT = Checkpoint(LOG.name, 7, tree_root(made_up(7).leaves))
TESSERA = vectors("tessera-testlog.json")
ROOT = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="


def test_the_example_of_the_text() -> None:
    text = f"example.com/behind-the-sofa\n20852163\n{ROOT}\n".encode()
    checkpoint = parse_checkpoint(text)
    assert checkpoint == Checkpoint("example.com/behind-the-sofa", 20852163, b64decode(ROOT))
    assert checkpoint.text() == text


@pytest.mark.parametrize("size", range(16))
def test_the_checkpoints_of_a_tessera_log(size: int) -> None:
    note = b64decode(TESSERA["files_b64"][f"checkpoint.{size}"])
    checkpoint = open_checkpoint(note, VerifierKey.parse(TESSERA["vkey"]))
    assert (checkpoint.origin, checkpoint.size) == ("example.com/log/testdata", size)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "o\n",
        "o\n1\n",
        f"o\n1\n{ROOT}",
        f"\n1\n{ROOT}\n",
        f"o\n\n{ROOT}\n",
        "o\n1\n\n",
        f"o\n1\n{ROOT}\n\n",
        f"o\n1\n{ROOT}\nextension\n\n",
        f"o\n1\n{ROOT}\n\nextension\n",
        f"o\n01\n{ROOT}\n",
        f"o\n+1\n{ROOT}\n",
        f"o\n-1\n{ROOT}\n",
        f"o\n1 \n{ROOT}\n",
        f"o\n 1\n{ROOT}\n",
        f"o\n1_0\n{ROOT}\n",
        f"o\n0x1\n{ROOT}\n",
        f"o\n١\n{ROOT}\n",
        f"o\n{2**63}\n{ROOT}\n",
        f"o\n{'9' * 5000}\n{ROOT}\n",
        f"o\n1\n{ROOT[:-1]}\n",
        f"o\n1\n{ROOT}=\n",
        f"o\n1\n {ROOT}\n",
        f"o\n1\n{ROOT[:-2]}J=\n",  # a stray bit: another spelling of the same 32 bytes
        f"o\n1\n{ROOT.replace('/', '_')}\n",
        "o\n1\nAAAA\n",
        f"o\r\n1\n{ROOT}\n",
        f"o\n1\n{ROOT}\r\n",
        f"o\0\n1\n{ROOT}\n",
    ],
    ids=lambda text: ascii(text[:40]),
)
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(FormatError):
        parse_checkpoint(text.encode())


def test_a_checkpoint_by_the_logs_key_is_opened() -> None:
    assert open_checkpoint(sign_note(CHECKPOINT.text(), LOG), LOG.verifier) == CHECKPOINT
    assert open_checkpoint(sign_note(CHECKPOINT.text(), OTHER, LOG), LOG.verifier) == CHECKPOINT


def test_a_checkpoint_by_another_key_is_refused() -> None:
    with pytest.raises(SignatureError, match="no signature"):
        open_checkpoint(sign_note(CHECKPOINT.text(), OTHER), LOG.verifier)


def test_a_checkpoint_for_another_origin_is_refused() -> None:
    foreign = CHECKPOINT._replace(origin=OTHER.name).text()
    with pytest.raises(SignatureError, match=f"{OTHER.name}.*{LOG.name}"):
        open_checkpoint(sign_note(foreign, LOG), LOG.verifier)


def test_signed_text_that_is_no_checkpoint_is_refused() -> None:
    with pytest.raises(FormatError):
        open_checkpoint(sign_note("hello\n", LOG), LOG.verifier)


def test_a_cosigners_key_is_no_log_key() -> None:
    key = VerifierKey.of(LOG.name, ED25519_COSIGNATURE, LOG.verifier.public)
    with pytest.raises(FormatError, match="type 1"):
        open_checkpoint(sign_note(CHECKPOINT.text(), LOG), key)


NOTE = sign_note(CHECKPOINT._replace(extensions=("an extension",)).text(), LOG)


@pytest.mark.parametrize("bit", range(8))
def test_change_any_bit_of_a_signed_checkpoint_and_it_is_refused(bit: int) -> None:
    open_checkpoint(NOTE, LOG.verifier)
    for place in range(len(NOTE)):
        changed = bytearray(NOTE)
        changed[place] ^= 1 << bit
        with pytest.raises((FormatError, SignatureError)):
            open_checkpoint(bytes(changed), LOG.verifier)


lines = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1)


@given(
    st.builds(
        Checkpoint,
        lines,
        st.integers(0, 2**63 - 1),
        st.binary(min_size=32, max_size=32),
        st.lists(lines, max_size=3).map(tuple),
    )
)
def test_checkpoints_are_read_back(checkpoint: Checkpoint) -> None:
    assert parse_checkpoint(checkpoint.text()) == checkpoint

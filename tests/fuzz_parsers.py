"""Feeds every parser odd bytes for as long as one likes, led by what they make it execute.

    make fuzz-parsers FUZZ_S=600

The laws are those of tests/test_parsers.py and tests/tlog/test_strictness.py, which the test suite
holds with far fewer examples. Atheris (libFuzzer) finds what random bytes do not: it keeps what
reached new branches. It stops at the first broken law and leaves the bytes in a file.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["ledger", "schemas"]):
    from ledger.errors import LedgerError
    from tests.test_parsers import EXAMPLES, FORMATS, submitted
    from tests.tlog.test_strictness import FORMATS as FLOOR

from tests.support import body_of

# What is in a file is left out: it would be bound by the disk.
PARSERS = [format_ for format_ in [*FLOOR, *FORMATS] if format_.name not in ("mark", "memory")]


def one(data: bytes) -> None:
    """The first byte says which parser reads the rest."""
    if not data:
        return
    number, rest = data[0] % (len(PARSERS) + 1), data[1:]
    if number == len(PARSERS):
        submitted(rest)
        return
    format_ = PARSERS[number]
    text = rest if isinstance(format_.sample, bytes) else rest.decode("utf-8", "surrogateescape")
    try:
        value = format_.parse(text)
    except LedgerError:
        return
    spelled = format_.spell(value) if format_.spell else None
    assert spelled is None or spelled == text, (format_.name, text, spelled)


def seeds() -> list[bytes]:
    """A text that each parser takes, to begin with."""
    taken = []
    for number, format_ in enumerate(PARSERS):
        sample = format_.sample
        taken.append(bytes([number]) + (sample if isinstance(sample, bytes) else sample.encode()))
    return taken + [bytes([len(PARSERS)]) + body_of(example) for example in EXAMPLES]


if __name__ == "__main__":
    from pathlib import Path

    corpus = Path(sys.argv[-1])
    corpus.mkdir(parents=True, exist_ok=True)
    for place, seed in enumerate(seeds()):
        (corpus / f"seed-{place}").write_bytes(seed)
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()

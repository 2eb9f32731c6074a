"""Laws of every parser above the floor: any bytes lead to a value, or to an error of ours.

Those of the floor are held in tests/tlog/test_strictness.py. `make fuzz-parsers` feeds all of them
for as long as one likes.
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.entry import Entry, canonical, decode_entry, encode_entry, read_json
from ledger.errors import Fault, Refusal, SetupError
from ledger.money import CURRENCIES, LIMIT_MINOR, format_amount, parse_amount, parse_total
from ledger.post import read_submission
from ledger.remember import Memory
from ledger.store.files import HighWater
from ledger.tlog.cosignature import split_cosignature
from tests.statement_table import TYPES
from tests.support import body_of, donation, party
from tests.tlog.test_strictness import LOG, NOTE, Format, mutated, noise

NOW = datetime.fromisoformat("2026-11-24T09:00:00+07:00")
ROOT = bytes(range(32))
TOTALS = [
    {"fund": "air", "currency": "IDR", "n": 1, "balance": "10.00", "spans": [["0.00", "1.00"]]}
]
ENTRY = encode_entry(
    7, "kita", ROOT.hex(), "2026-11-24T02:06:13.123Z", canonical(donation(purpose="é")), TOTALS
)
MARK = f"{7:020d} AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n".encode()


def parse_entry(data: bytes) -> Entry:
    entry = decode_entry(data)
    if entry.unread:
        raise Refusal("not_supported", "fields that are not read cannot be spelled again")
    return entry


def spell_entry(entry: Entry) -> bytes:
    place = entry.index, entry.platform, entry.prev, entry.recorded_at
    return encode_entry(*place, canonical(entry.statement), entry.totals)


def in_file(read: Callable[[Path], Any], name: str) -> Callable[[bytes], Any]:
    """A parser of the file `name`, which `read` is given the path of."""

    def parse(data: bytes) -> Any:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / name
            path.write_bytes(data)
            return read(path)

    return parse


def mark_of(read: tuple[int, bytes]) -> bytes:
    """How the file beside the database spells what was handed out last."""
    with tempfile.TemporaryDirectory() as directory:
        mark = HighWater(Path(directory) / "mark")
        mark.write(*read)
        return mark.path.read_bytes()


def remembered(path: Path) -> Any:
    return Memory(path.parent).recall(LOG.verifier)


MEMORY = Memory(Path())._path(LOG.verifier).name
FORMATS = [
    Format("entry", parse_entry, spell_entry, ENTRY),
    Format("json", read_json, None, body_of(donation(), party("air"))),
    Format("amount", lambda text: parse_amount(text, 2), None, "1234.50"),
    Format("total", lambda text: parse_total(text, 2), lambda v: format_amount(v, 2), "1234.50"),
    Format("total of yen", lambda text: parse_total(text, 0), str, "1234"),
    Format(
        "cosignature",
        split_cosignature,
        lambda parts: parts[0].to_bytes(8, "big") + parts[1],
        bytes(7) + b"\5" + ROOT,
    ),
    Format("mark", in_file(lambda path: HighWater(path).read(), "mark"), mark_of, MARK),
    Format("memory", in_file(remembered, MEMORY), None, f"{LOG.verifier}\n".encode() + NOTE),
]


@pytest.mark.parametrize("format_", FORMATS, ids=lambda format_: format_.name)
@given(st.data())
@settings(max_examples=100, deadline=None)
def test_anything_is_refused_by_our_errors_or_spelled_the_same_again(
    format_: Format, data: st.DataObject
) -> None:
    format_.hold(data.draw(mutated(format_.sample) | noise(format_.sample)))


@pytest.mark.parametrize("format_", FORMATS, ids=lambda format_: format_.name)
def test_the_samples_are_taken(format_: Format) -> None:
    assert format_.hold(format_.sample)


MARKS = {
    "of very many digits": MARK.replace(b"0", b"9" * 5000, 1),  # too many for Python's int()
    "below zero": MARK.replace(b"0", b"-", 1),
    "of Python's spelling": MARK.replace(b"00", b"_0", 1),
    "without its newline": MARK[:-1],
    "with a line more": MARK + b"\n",
    "of a short root": f"{7:020d} AAECAw==\n".encode(),
    "empty": b"",
}


@pytest.mark.parametrize("mark", MARKS)
def test_a_damaged_mark_is_refused(tmp_path: Path, mark: str) -> None:
    (tmp_path / "mark").write_bytes(MARKS[mark])
    with pytest.raises(SetupError, match="damaged"):
        HighWater(tmp_path / "mark").read()


@given(st.integers(0, LIMIT_MINOR - 1), st.integers(0, 4))
def test_a_total_is_read_back(minor: int, exponent: int) -> None:
    assert parse_total(format_amount(minor, exponent), exponent) == minor


# -- bodies of requests


def submitted(body: bytes) -> None:
    """Read a body as the door does, and hold what it says to its promises."""
    try:
        submission = read_submission(body, CURRENCIES, NOW)
    except Refusal as refusal:
        assert_told(refusal)
        return
    if submission.refusal is not None:
        assert_told(submission.refusal)
        for fault in submission.refusal.faults:
            assert stands_in(json.loads(body), fault), (fault, body)
    for post in submission.posts:
        assert json.loads(post.canonical) == post.statement
        (again,) = read_submission(b'{"statement":' + post.canonical + b"}", CURRENCIES, NOW).posts
        assert again == post


def assert_told(refusal: Refusal) -> None:
    assert refusal.code
    assert str(refusal)
    assert len(str(refusal)) < 4000
    assert all(fault.detail for fault in refusal.faults)


def stands_in(document: Any, fault: Fault) -> bool:
    """Whether a pointer leads somewhere, or to a field that is missing in an object."""
    steps = [step.replace("~1", "/").replace("~0", "~") for step in fault.pointer.split("/")[1:]]
    for number, step in enumerate(steps):
        if isinstance(document, dict) and step not in document:
            return number == len(steps) - 1
        document = document[step] if isinstance(document, dict) else document[int(step)]
    return True


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value within `value`, and its own."""
    yield path
    if isinstance(value, dict | list):
        for step, member in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(member, (*path, step))


EXAMPLES = [type_.example for type_ in TYPES.values()]
# Plain values of every kind, and those of other fields, which are right elsewhere.
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2**70)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["IDR", "JPY", "1000", "air", "2026-01-05T09:00:00+07:00", "", "0", "٣"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "ref", "party", "amount", "x/~"]), inner)
    ),
    max_leaves=4,
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Good statements, in which a few values or fields were replaced, added or taken away."""
    statements = draw(st.lists(st.sampled_from(EXAMPLES), min_size=1, max_size=3))
    document: Any = json.loads(body_of(*copy.deepcopy(statements)))
    for _ in range(draw(st.integers(0, 3))):
        *above, last = draw(st.sampled_from([path for path in places(document) if path]))
        parent = document
        for step in above:
            parent = parent[step]
        match draw(st.sampled_from(["replace", "remove", "add"])):
            case "replace":
                parent[last] = draw(VALUES)
            case "remove":
                del parent[last]
            case _ if isinstance(parent, dict):
                parent[draw(st.sampled_from(["supersedes", "fees", "donor", "x/~", "é"]))] = draw(
                    VALUES
                )
            case _:
                parent.append(draw(VALUES))
        if not document:
            break
    return json.dumps(document).encode()


@given(bodies())
@settings(max_examples=400, deadline=None)
def test_a_body_of_odd_values_is_refused_where_they_stand_or_taken_as_it_is(body: bytes) -> None:
    submitted(body)


@given(mutated(body_of(*EXAMPLES[:3])) | st.binary())
@settings(max_examples=300, deadline=None)
def test_a_body_of_odd_bytes_is_refused_or_taken_as_it_is(body: bytes) -> None:
    submitted(body)

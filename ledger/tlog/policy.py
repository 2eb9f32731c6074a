"""Trust policies (C2SP tlog-policy): which logs, which witnesses, and how many are enough.

    log ledger.example/amanah+8d4495c9+AQ4R... https://ledger.example/
    witness gov w0.example/wit+c2fef058+BDVV... https://gov.example/
    witness ngo w1.example/wit+0b59711c+BF40...
    group sectors all gov ngo
    quorum sectors

A policy is the reader's own: one that came from the log it judges judges nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from ledger.errors import FormatError, PolicyError, SignatureError
from ledger.tlog.checkpoint import Checkpoint, check_log_key, parse_checkpoint
from ledger.tlog.note import ED25519_COSIGNATURE, MLDSA44_COSIGNATURE, VerifierKey, parse_note
from ledger.tlog.spelling import shown

NO_QUORUM = "none"

_FORBIDDEN = re.compile(rb"[^\x09\x0a\x20-\x7e\x80-\xff]")
_THRESHOLD = re.compile(r"[1-9][0-9]{0,8}\Z")


class Group(NamedTuple):
    """Witnesses, or groups of them, of which `needed` speak for all."""

    name: str
    needed: int
    members: tuple[str, ...]


class Opened(NamedTuple):
    """A checkpoint that a log of the policy signed, and the witnesses that cosigned it."""

    checkpoint: Checkpoint
    witnesses: frozenset[str]


@dataclass(frozen=True)
class Policy:
    """A policy that was read.

    `witnesses`: key by the policy's own name for the witness, in the order of the file;
    `witness_urls`: for those that have one; `groups`: each after its members; `quorum`: the
    name of a witness or group, or "none". Names are octets: those that are not UTF-8 are
    spelled with surrogateescape.
    """

    logs: tuple[VerifierKey, ...] = ()
    witnesses: dict[str, VerifierKey] = field(default_factory=dict)
    witness_urls: dict[str, str] = field(default_factory=dict)
    groups: tuple[Group, ...] = ()
    quorum: str = NO_QUORUM

    @classmethod
    def parse(cls, data: bytes | str) -> Policy:
        """Read a policy file. Raises FormatError, naming the line."""
        return _Reader(data).policy()

    @classmethod
    def for_key(cls, key: VerifierKey) -> Policy:
        """Trust in one log's key and no witness. Raises FormatError for a key no log may have."""
        check_log_key(key)
        return cls(logs=(key,))

    def met_by(self, names: Iterable[str]) -> bool:
        """Whether cosignatures by these witnesses are enough. Unknown names count for nothing."""
        # Only witnesses' names: a group's must not stand for it.
        met = self.witnesses.keys() & names
        for group in self.groups:
            if len(met.intersection(group.members)) >= group.needed:
                met.add(group.name)
        return self.quorum == NO_QUORUM or self.quorum in met

    def open(self, note: bytes) -> Opened:
        """Read a checkpoint by a log of this policy, and who of its witnesses cosigned it.

        Raises FormatError for what is no checkpoint; SignatureError when no log whose key is
        named by the origin signed it, or when any signature by a key of the policy is wrong.
        """
        parsed = parse_note(note)
        verified = parsed.verified_by([*self.logs, *self.witnesses.values()])
        checkpoint = parse_checkpoint(parsed.text)
        if not any(key in self.logs and key.name == checkpoint.origin for key in verified):
            raise SignatureError(
                f"the checkpoint of {shown(checkpoint.origin)} has no signature by a key that "
                f"the policy lists for it; listed: {', '.join(map(str, self.logs)) or 'no log'}"
            )
        names = (name for name, key in self.witnesses.items() if key in verified)
        return Opened(checkpoint, frozenset(names))

    def check(self, note: bytes) -> Checkpoint:
        """Read a checkpoint that meets this policy. Raises as `open`, and PolicyError."""
        opened = self.open(note)
        if not self.met_by(opened.witnesses):
            raise PolicyError(
                f"the checkpoint of size {opened.checkpoint.size} is cosigned by "
                f"{', '.join(sorted(opened.witnesses)) or 'no witness of the policy'}, "
                f"not enough for the quorum {self.quorum}"
            )
        return opened.checkpoint


class _Reader:
    """Reads a policy line by line, so that a name can only refer upward."""

    def __init__(self, data: bytes | str) -> None:
        self.lines = _policy_lines(data)
        self.number = 0
        self.logs: list[VerifierKey] = []
        self.witnesses: dict[str, VerifierKey] = {}
        self.witness_urls: dict[str, str] = {}
        self.groups: dict[str, Group] = {}
        self.grouped: set[str] = set()
        self.quorum: str | None = None

    def policy(self) -> Policy:
        readers = {
            "log": self.read_log,
            "witness": self.read_witness,
            "group": self.read_group,
            "quorum": self.read_quorum,
        }
        for number, items in enumerate(self.lines, 1):
            self.number = number
            if not items or items[0].startswith("#"):
                continue
            if items[0] not in readers:
                raise self.wrong(f"{shown(items[0])} is not log, witness, group or quorum")
            readers[items[0]](items[1:])
        if self.quorum is None:
            raise FormatError("the policy has no quorum line")
        groups = tuple(self.groups.values())
        return Policy(tuple(self.logs), self.witnesses, self.witness_urls, groups, self.quorum)

    def read_log(self, items: list[str]) -> None:
        if not 1 <= len(items) <= 2:
            raise self.wrong("a log line is: log <vkey> [<url>]")
        key = self.key(items[0], self.logs)
        try:
            check_log_key(key)
        except FormatError as error:
            raise self.wrong(str(error)) from error
        self.logs.append(key)

    def read_witness(self, items: list[str]) -> None:
        if not 2 <= len(items) <= 3:
            raise self.wrong("a witness line is: witness <name> <vkey> [<url>]")
        name = self.new_name(items[0])
        key = self.key(items[1], self.witnesses.values())
        if key.type not in (ED25519_COSIGNATURE, MLDSA44_COSIGNATURE):
            raise self.wrong(f"the key of witness {shown(name)} has type {key.type}, not 4 or 6")
        self.witnesses[name] = key
        if len(items) == 3:
            self.witness_urls[name] = items[2]

    def read_group(self, items: list[str]) -> None:
        if len(items) < 3:
            raise self.wrong("a group line is: group <name> all|any|<k> <name>...")
        name, threshold, members = self.new_name(items[0]), items[1], tuple(items[2:])
        for member in members:
            self.known_name(member)
            # Across all groups, not only in this one: a witness counts in one way.
            if member in self.grouped:
                raise self.wrong(f"{shown(member)} is a member of a group already")
            self.grouped.add(member)
        self.groups[name] = Group(name, self.needed(threshold, len(members)), members)

    def read_quorum(self, items: list[str]) -> None:
        if len(items) != 1:
            raise self.wrong("a quorum line is: quorum <name>|none")
        if self.quorum is not None:
            raise self.wrong("a second quorum line")
        self.quorum = items[0] if items[0] == NO_QUORUM else self.known_name(items[0])

    def needed(self, threshold: str, count: int) -> int:
        if threshold in ("all", "any"):
            return count if threshold == "all" else 1
        if not _THRESHOLD.match(threshold) or int(threshold) > count:
            raise self.wrong(f"the threshold {shown(threshold)} is not all, any or 1 to {count}")
        return int(threshold)

    def key(self, text: str, others: Iterable[VerifierKey]) -> VerifierKey:
        try:
            key = VerifierKey.parse(text)
        except FormatError as error:
            raise self.wrong(str(error)) from error
        if any(key.public == other.public for other in others):
            raise self.wrong(f"the public key of {shown(key.name)} is listed twice")
        return key

    def new_name(self, name: str) -> str:
        if name == NO_QUORUM or name in self.witnesses or name in self.groups:
            raise self.wrong(f"the name {shown(name)} is taken")
        return name

    def known_name(self, name: str) -> str:
        if name not in self.witnesses and name not in self.groups:
            raise self.wrong(f"{shown(name)} names no witness or group defined above")
        return name

    def wrong(self, message: str) -> FormatError:
        return FormatError(f"policy line {self.number}: {message}")


def _policy_lines(data: bytes | str) -> list[list[str]]:
    """The items of each line. Raises FormatError for octets that no policy may hold."""
    if isinstance(data, str):
        try:
            data = data.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as error:
            raise FormatError(f"the policy has no octets for character {error.start}") from None
    if found := _FORBIDDEN.search(data):
        raise FormatError(f"the policy has the octet {found[0]!r} at byte {found.start()}")
    if not data.endswith(b"\n"):
        raise FormatError("the policy does not end in a newline")
    # bytes.split() knows ASCII spaces alone, of which only space and tab got past the check;
    # str.split() would also cut at a no-break space inside a name.
    return [
        [item.decode("utf-8", "surrogateescape") for item in line.split()]
        for line in data[:-1].split(b"\n")
    ]

"""What a verifier remembers: trust on first use, saved after success only, and held against."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.audit import Known
from ledger.errors import SetupError
from ledger.remember import Memory
from ledger.service import Ledger
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.note import SigningKey, sign_note
from tests.command_line import Amanah
from tests.simulator import Log, Witness
from tests.support import ORIGIN, PLATFORM, donation, fund

FIRST = "No --vkey or --policy given, so the key that the ledger names is taken on trust:"
KEPT = "First time that ledger.example/tests is verified here; from now on its checkpoint is kept."
OTHER_KEY = SigningKey.of(ORIGIN, b"\x02" * 32)


class Site(Amanah):
    """A ledger whose operator may write whatever he likes to its database."""

    def __init__(self, home: Path, origin: str = ORIGIN) -> None:
        super().__init__(home)
        ledger = Ledger.create(home / "made" / "amanah.db", origin, "Tests")
        ledger.register_platform(PLATFORM)
        ledger.post(PLATFORM, [fund("air"), donation(ref="gift-0")])
        self.log = Log.of(ledger)
        ledger.close()
        # Without its high-water mark, which would remember as well.
        shutil.copy(ledger.store.paths.database, self.database)

    def append(self, ref: str) -> Log:
        """The log one honest donation longer, not served yet."""
        return self.log.copy().append(PLATFORM, donation(ref=ref)).refold().seal()

    def serve(self, log: Log) -> None:
        self.log = log
        log.write_to(self.database)

    def verify(self, *options: object) -> int:
        """Verify it; the exit code."""
        self.outcome = self("verify", self.database, *options)
        return self.outcome.code

    @property
    def files(self) -> dict[str, bytes]:
        """All files of the memory."""
        return {path.name: path.read_bytes() for path in self.state.glob("*")}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def policy_of(site: Site, text: str) -> Path:
    path = site.state.with_name("policy")
    path.write_text(text)
    return path


# -- trust on first use


def test_trust_on_first_use_is_said_aloud_and_only_once(site: Site) -> None:
    assert site.verify() == 0
    assert site.outcome.err == f"{FIRST}\n{site.log.signer.verifier}\n{KEPT}\n"
    assert site.verify() == 0
    assert site.outcome.err == ""


def test_a_key_that_is_named_needs_no_trust(site: Site) -> None:
    assert site.verify("--vkey", site.log.signer.verifier) == 0
    assert site.outcome.err == f"{KEPT}\n"


def test_another_key_than_the_first_is_not_trusted(site: Site) -> None:
    """Somebody put a ledger of the same name, with a key of his own, in its place."""
    assert site.verify() == 0
    log = site.log.copy().edit_statement(0, vkeys=[str(OTHER_KEY.verifier)]).seal(OTHER_KEY)
    before = site.files
    site.serve(log)
    assert site.verify() == 1
    assert "has no signature by a key that the policy lists" in site.outcome.err
    assert site.files == before
    fresh = Site(site.state.with_name("fresh"))
    fresh.serve(log)
    assert fresh.verify() == 0  # whoever comes first now cannot know


def test_a_log_of_the_genesis_alone_is_enough_to_start_on(site: Site) -> None:
    whole = site.log.copy()
    site.serve(site.log.copy().roll_back(1))
    assert site.verify() == 0
    assert site.outcome.out.startswith("SOUND: all 1 entries")
    site.serve(whole)
    assert site.verify() == 0
    site.serve(whole.fork(0, operator="Somebody else"))
    assert site.verify() == 1


# -- saved after success, and only then


def test_what_was_seen_is_remembered_whole(site: Site) -> None:
    assert site.verify() == 0
    (content,) = site.files.values()
    assert content == f"{site.log.signer.verifier}\n".encode() + site.log.note
    site.serve(site.append("gift-1"))
    assert site.verify() == 0
    (content,) = site.files.values()
    assert content == f"{site.log.signer.verifier}\n".encode() + site.log.note


FAILURES: dict[str, tuple[Callable[[Site], Log], int]] = {
    "a false balance": (lambda site: site.append("gift-1").edit(4, totals=[{"n": 2}]).seal(), 1),
    "a broken chain": (lambda site: site.append("gift-1").edit(4, prev="1" * 64).publish(), 1),
    "a false root": (
        lambda site: site.append("gift-1").serve("checkpoint", site.append("gift-2").note),
        1,
    ),
    "another key": (lambda site: site.append("gift-1").seal(OTHER_KEY), 1),
    "an unknown type": (lambda site: site.log.copy().append(PLATFORM, {"type": "x"}).seal(), 1),
}


@pytest.mark.parametrize(("attack", "code"), FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("before", ["something", "nothing"])
def test_a_failing_audit_changes_nothing(
    site: Site, attack: Callable[[Site], Log], code: int, before: str
) -> None:
    vkey, honest = site.log.signer.verifier, site.append("gift-1")
    if before == "something":
        assert site.verify() == 0
    files = site.files
    site.serve(attack(site))
    assert site.verify("--vkey", vkey) == code
    assert site.files == files
    # Nothing was skipped either: the same entries, honest this time, are read and remembered.
    site.serve(honest)
    assert site.verify("--vkey", vkey) == 0
    assert site.files != files


def test_too_few_cosignatures_are_nothing_to_remember(site: Site) -> None:
    gov = Witness("gov")
    text = f"log {site.log.signer.verifier}\nwitness gov {gov.key}\nquorum gov\n"
    policy = policy_of(site, text)
    assert site.verify("--policy", policy) == 4
    assert "can mean: the witnesses have not seen this checkpoint yet; or" in site.outcome.err
    assert site.files == {}
    assert site("verify", site.database, "--policy", policy, "--json").json["code"] == (
        "policy_not_met"
    )
    gov.cosign(site.log)
    site.serve(site.log)
    assert site.verify("--policy", policy) == 0
    assert "Cosigned by gov." in site.outcome.out
    assert len(site.files) == 1


# -- held against


def test_a_roll_back_is_found_and_does_not_overwrite_what_proves_it(site: Site) -> None:
    site.serve(site.append("gift-1"))
    assert site.verify() == 0
    files = site.files
    longest = site.log.copy()
    for size in (5 - 1, 2, 1):
        site.serve(longest.copy().roll_back(size))
        assert site.verify() == 1
        (name,) = files
        told = f"index {size}: size, against what was remembered in {site.state / name}\n"
        assert told in site.outcome.err
        assert f"expected: at least 5\n  found:    {size}\n" in site.outcome.err
        assert site.files == files
    site.serve(longest)
    assert site.verify() == 0


def test_a_fork_is_found_however_much_longer_it_is(site: Site) -> None:
    assert site.verify() == 0
    files = site.files
    log = site.append("gift-1")
    for number in range(2, 300):
        log.append(PLATFORM, donation(ref=f"gift-{number}"))
    site.serve(log.fork(3, amount="999"))
    assert site.verify() == 1
    assert "index 3: root at size 4, against what was remembered" in site.outcome.err
    assert site.files == files


# -- several logs, several keys


def test_two_origins_are_remembered_apart(tmp_path: Path) -> None:
    one, two = Site(tmp_path / "one"), Site(tmp_path / "two", "other.example/tests")
    two.settings = two.settings | {"AMANAH_STATE": one.settings["AMANAH_STATE"]}
    assert (one.verify(), two.verify()) == (0, 0)
    assert "First time" in two.outcome.err
    assert len(one.files) == 2
    two.serve(two.log.copy().roll_back(3))
    assert (one.verify(), two.verify()) == (0, 1)


def both_keys(site: Site) -> Path:
    """A policy that trusts two keys of one origin, the second not named in the genesis."""
    return policy_of(
        site, f"log {site.log.signer.verifier}\nlog {OTHER_KEY.verifier}\nquorum none\n"
    )


def test_what_was_seen_under_one_key_counts_under_the_other(site: Site) -> None:
    policy, first_key = both_keys(site), site.log.signer
    site.serve(site.append("gift-1"))
    assert site.verify("--policy", policy) == 0
    longest = site.log.copy()
    site.serve(longest.copy().roll_back(4).publish(OTHER_KEY))
    assert site.verify("--policy", policy) == 1
    assert "at least 5" in site.outcome.err
    site.serve(longest.copy().append(PLATFORM, donation(ref="x")).refold().seal(OTHER_KEY))
    assert site.verify("--policy", policy) == 0
    assert len(site.files) == 2
    site.serve(longest.copy().publish(first_key))
    assert site.verify("--policy", policy) == 1
    assert "at least 6" in site.outcome.err


def test_a_checkpoint_is_remembered_under_the_key_that_signed_it(site: Site) -> None:
    """Not under the first that the policy names: it could never be read again."""
    policy = both_keys(site)
    site.serve(site.log.copy().publish(OTHER_KEY))
    for _ in range(2):
        assert site.verify("--policy", policy) == 0
    (name,) = site.files
    assert OTHER_KEY.verifier.key_id.hex() in name


def test_a_checkpoint_that_both_keys_signed_is_remembered_under_both(site: Site) -> None:
    policy, text = both_keys(site), site.log.note.rpartition(b"\n\n")[0] + b"\n"
    site.serve(site.log.copy().serve("checkpoint", sign_note(text, OTHER_KEY, site.log.signer)))
    assert site.verify("--policy", policy) == 0
    assert len(site.files) == 2
    for signer in (site.log.signer, OTHER_KEY):  # both are trusted now, without a policy too
        site.serve(site.log.copy().publish(signer))
        assert site.verify() == 0
        assert site.outcome.err == ""
    site.serve(site.log.copy().publish(SigningKey.of(ORIGIN, b"\x03" * 32)))
    assert site.verify() == 1


# -- a damaged memory

DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut in the key": lambda content: content[:20],
    "cut in the note": lambda content: content[:-20],
    "no note": lambda content: content.partition(b"\n")[0] + b"\n",
    "not UTF-8": lambda content: b"\xff" + content,
    "another size": lambda content: content.replace(b"\n4\n", b"\n3\n"),
    "an empty note": lambda content: content.partition(b"\n")[0] + b"\n\n",
    "another key's": lambda content: (
        f"{OTHER_KEY.verifier}\n".encode()
        + sign_note(Checkpoint(ORIGIN, 4, bytes(32)).text(), OTHER_KEY)
    ),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("named", [True, False], ids=["key named", "first use"])
def test_a_damaged_memory_says_what_to_do(
    site: Site, damage: Callable[[bytes], bytes], named: bool
) -> None:
    assert site.verify() == 0
    (path,) = site.state.glob("*")
    content = path.read_bytes()
    assert damage(content) != content
    path.write_bytes(damage(content))
    options = ("--vkey", site.log.signer.verifier) if named else ()
    assert site.verify(*options) == 2
    assert site.outcome.out == ""
    assert f"setup: what was remembered in {path} cannot be read: " in site.outcome.err
    assert "Put the file back from a backup; deleting it means trusting" in site.outcome.err
    path.write_bytes(content)
    assert site.verify(*options) == 0


def test_a_memory_that_cannot_be_written_is_said(site: Site) -> None:
    site.state.write_text("in the way")
    assert site.verify() == 2
    assert f"setup: the checkpoint cannot be remembered in {site.state}" in site.outcome.err


# -- the memory itself


def test_a_memory_gives_back_what_was_saved(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "not" / "there" / "yet")
    key, other = SigningKey.of("a.example", b"\x01" * 32), SigningKey.of("a.example", b"\x02" * 32)
    stranger = SigningKey.of("b.example", b"\x01" * 32)
    assert memory.recall(key.verifier) is None
    assert memory.keys_of("a.example") == []
    for size, signer in ((7, key), (9, key), (3, other), (5, stranger)):
        note = sign_note(Checkpoint(signer.name, size, bytes([size]) * 32).text(), signer)
        memory.save(signer.verifier, note)
        known = memory.recall(signer.verifier)
        assert known is not None
        assert known == Known(size, bytes([size]) * 32, known.source)
    assert set(memory.keys_of("a.example")) == {key.verifier, other.verifier}
    assert memory.keys_of("b.example") == [stranger.verifier]
    assert len(list((tmp_path / "not" / "there" / "yet").iterdir())) == 3


def test_a_save_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, key = Memory(tmp_path), SigningKey.of("a.example", b"\x01" * 32)
    notes = [sign_note(Checkpoint(key.name, n, bytes(32)).text(), key) for n in (1, 2)]
    memory.save(key.verifier, notes[0])

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(SetupError, match="No space left on device"):
        memory.save(key.verifier, notes[1])
    known = memory.recall(key.verifier)
    assert known is not None
    assert known.size == 1
    assert len(list(tmp_path.iterdir())) == 1

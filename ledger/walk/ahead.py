"""Checking bundles ahead of the walk: by threads that read, and by processes that check.

Only what needs no order is done ahead (ledger/walk/bundle.py), and its outcome is handed on in
the order of the log. What is held at a time has a bound, however long the log is.
"""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from functools import lru_cache, partial
from typing import NamedTuple, TypeVar

import msgspec

from ledger.errors import LedgerError, Unavailable
from ledger.rules import Content
from ledger.walk.bundle import Checked, Reader, check_bundle, read_bundle

SEGMENT = 8  # bundles that a process is asked for at once: some 0.7 MB of answer
WORTH_BUNDLES = 160  # of fewer, the processes would be ready when all is done

_T = TypeVar("_T")
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[Content]).decode


class Ways(NamedTuple):
    """How a log is read. reopen: opens it again in another process, so it must pickle.

    workers: how many processes check, 1 being this one. in_flight: how many requests a reader
    that has to wait for its answers may have under way, in all processes together.
    """

    reopen: Callable[[], Reader] | None = None
    workers: int = 1
    in_flight: int = 1

    def workers_for(self, bundles: int) -> int:
        """How many processes are worth it."""
        return self.workers if self.reopen is not None and bundles >= WORTH_BUNDLES else 1


HERE = Ways()  # one after the other, in this process


def checked_bundles(
    reader: Reader, bundles: range, currencies: Mapping[str, int], ways: Ways
) -> Generator[Checked | None, None, None]:
    """`check_bundle` of each of `bundles`, in order; close it when no more is wanted."""
    workers = ways.workers_for(len(bundles))
    if workers == 1:
        return _here(reader, bundles, currencies, ways.in_flight)
    return _elsewhere(ways, workers, bundles, currencies)


def _here(
    reader: Reader, bundles: Sequence[int], currencies: Mapping[str, int], in_flight: int
) -> Generator[Checked | None, None, None]:
    if in_flight == 1:
        for index in bundles:
            yield check_bundle(partial(read_bundle, reader, index), index, currencies)
        return
    reads = (_begun(partial(read_bundle, reader, index)) for index in bundles)
    for index, read in zip(bundles, _ahead(reads, in_flight), strict=True):
        yield check_bundle(read.result, index, currencies)


def _begun(read: Callable[[], _T]) -> Future[_T]:
    """A thread of its own costs little beside a request, and holds up nobody who gives up."""
    future: Future[_T] = Future()

    def run() -> None:
        try:
            future.set_result(read())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def _ahead(futures: Iterator[Future[_T]], most: int) -> Iterator[Future[_T]]:
    """Each in turn, with at most so many begun before the first of them is taken."""
    begun: deque[Future[_T]] = deque()
    for future in futures:
        begun.append(future)
        if len(begun) == most:
            yield begun.popleft()
    yield from begun


# -- in other processes


class _Packed(NamedTuple):
    """A checked bundle on its way between processes, without its contents and with them."""

    checked: Checked
    contents: bytes


def _elsewhere(
    ways: Ways, workers: int, bundles: range, currencies: Mapping[str, int]
) -> Generator[Checked | None, None, None]:
    from concurrent.futures.process import BrokenProcessPool

    pool = spawned(workers)
    opener = pickle.dumps(ways.reopen)
    each = max(ways.in_flight // workers, 1)
    segments = (bundles[at : at + SEGMENT] for at in range(0, len(bundles), SEGMENT))
    try:
        tasks = (pool.submit(_check_segment, opener, s, currencies, each) for s in segments)
        for task in _ahead(tasks, workers + 2):
            for outcome in task.result():
                if isinstance(outcome, LedgerError):
                    raise outcome
                yield outcome and outcome.checked._replace(contents=_unpack(outcome.contents))
    except BrokenProcessPool as error:
        raise Unavailable(
            "a process that checked bundles ended before its time, perhaps for want of memory; "
            "try again with --workers 1"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def spawned(workers: int) -> Executor:
    """Fresh processes, nothing of which is forked: threads and connections stay here."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    return ProcessPoolExecutor(workers, get_context("spawn"), initializer=_begin)


def _begin() -> None:
    # Ctrl-C reaches the whole group, and only the first process is to say something.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # Whoever waits for work does not notice by himself that nobody is left to give any.
    from multiprocessing import parent_process

    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _check_segment(
    opener: bytes, bundles: range, currencies: Mapping[str, int], in_flight: int
) -> list[_Packed | LedgerError | None]:
    """Runs in another process. An error ends the segment and stands where it was met."""
    outcomes: list[_Packed | LedgerError | None] = []
    try:
        for checked in _here(_open(opener), bundles, currencies, in_flight):
            outcomes.append(
                checked and _Packed(checked._replace(contents=[]), _pack(checked.contents))
            )
    except LedgerError as error:
        outcomes.append(error)
    return outcomes


@lru_cache(maxsize=1)
def _open(opener: bytes) -> Reader:
    reopen: Callable[[], Reader] = pickle.loads(opener)  # noqa: S301 - ours, from our parent
    return reopen()

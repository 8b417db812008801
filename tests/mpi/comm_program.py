"""Runs every `case_...` below on all ranks of one launch and prints, as JSON, what went wrong on which rank.

Started by test_comm.py under mpiexec. After each case, no message may be left on the communicator.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
import traceback
from collections.abc import Callable

import numpy as np
from mpi4py import MPI

from parnwb.comm.node import Node
from parnwb.comm.ranks import ALARM_TAG, Alarmed, Ranks
from parnwb.errors import AgreementError, LayoutError, ParnwbError, RemoteError, SourceError

if MPI.COMM_WORLD.rank == 1:  # a class that the other ranks cannot load

    class OfOneRankOnly(Exception):
        """Known on rank 1 alone."""


class Demanding(Exception):
    """Cannot be made again from its arguments."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


class Mute(Exception):
    """Its text fails too."""

    def __str__(self) -> str:
        raise ValueError("no text")


def caught(ranks: Ranks, doing: str, work: Callable[[], object]) -> BaseException:
    """Run `work` in an agreed block that must fail, and return the error."""
    try:
        with ranks.agreed(doing):
            work()
    except BaseException as error:
        return error
    raise AssertionError(f"'{doing}' ended without an error")


def on(ranks: Ranks, who: int, error: BaseException) -> Callable[[], None]:
    """Return work in which rank `who` raises `error` and the others do nothing."""

    def work() -> None:
        if ranks.rank == who:
            raise error

    return work


# -- an error on one is an error on all ----------------------------------------------------------------------


def case_all_is_well(ranks: Ranks) -> None:
    for _ in range(20):
        with ranks.agreed("working"):
            pass
        ranks.meet("meeting")


def case_exception_of_each_rank_in_turn(ranks: Ranks) -> None:
    for who in range(ranks.size):
        found = caught(ranks, "writing", on(ranks, who, ValueError(f"broken on {who}", 7)))
        assert type(found) is ValueError and found.args == (f"broken on {who}", 7), repr(found)
        assert found.parnwb_rank == who
        assert ranks.all_know(found)


def case_errors_of_parnwb_travel_whole(ranks: Ranks) -> None:
    error = SourceError("it broke", where="/acquisition/x/data[0:10]", remedy="Look at it")
    found = caught(ranks, "reading", on(ranks, 2, error))
    assert type(found) is SourceError and str(found) == str(error)
    assert (found.where, found.remedy) == (error.where, error.remedy)


def case_system_errors_keep_their_number(ranks: Ranks) -> None:
    found = caught(ranks, "writing", on(ranks, 3, OSError(28, "No space left on device", "/out")))
    assert type(found) is OSError and (found.errno, found.filename) == (28, "/out")


def case_several_fail_and_the_first_is_raised(ranks: Ranks) -> None:
    def work() -> None:
        if ranks.rank in (1, 3):
            raise KeyError(f"of {ranks.rank}") if ranks.rank == 1 else LayoutError("of 3")

    found = caught(ranks, "planning", work)
    assert type(found) is KeyError and found.args == ("of 1",) and found.parnwb_rank == 1


def case_all_fail(ranks: Ranks) -> None:
    def work() -> None:
        raise RuntimeError(f"of {ranks.rank}")

    found = caught(ranks, "planning", work)
    assert str(found) == "of 0" and found.parnwb_rank == 0


def case_traceback_stays_on_the_rank_that_failed(ranks: Ranks) -> None:
    def deep() -> None:
        try:
            raise KeyError("why")
        except KeyError as cause:
            raise ValueError("what") from cause

    found = caught(ranks, "x", lambda: deep() if ranks.rank == 2 else None)
    frames = [frame.name for frame in traceback.extract_tb(found.__traceback__)]
    assert ("deep" in frames) == (ranks.rank == 2), frames
    assert isinstance(found.__cause__, KeyError) == (ranks.rank == 2)


# -- errors that cannot travel -------------------------------------------------------------------------------


def assert_remote(ranks: Ranks, found: BaseException, who: int, own: type, words: str) -> None:
    """Rank `who` has its own error, the others one that tells its text and its rank."""
    assert found.parnwb_rank == who
    if ranks.rank == who and type(found) is own:
        return
    assert type(found) is RemoteError, repr(found)
    assert words in str(found) and f"rank {who} on " in str(found), str(found)


def case_unpicklable(ranks: Ranks) -> None:
    class Local(Exception):
        pass

    found = caught(ranks, "x", on(ranks, 1, Local("made here")))
    assert_remote(ranks, found, 1, Local, "Local: made here")


def case_with_unpicklable_contents(ranks: Ranks) -> None:
    found = caught(ranks, "x", on(ranks, 0, ValueError("holds a lock", sys.stdout)))
    assert_remote(ranks, found, 0, ValueError, "holds a lock")


def case_that_cannot_be_made_again(ranks: Ranks) -> None:
    found = caught(ranks, "x", on(ranks, 2, Demanding("this", "that")))
    assert_remote(ranks, found, 2, Demanding, "Demanding: this and that")


def case_of_a_class_of_one_rank_only(ranks: Ranks) -> None:
    def work() -> None:
        if ranks.rank == 1:
            raise OfOneRankOnly("alone")

    found = caught(ranks, "x", work)
    assert_remote(ranks, found, 1, Exception if ranks.rank != 1 else OfOneRankOnly, "OfOneRankOnly: alone")


def case_without_a_text(ranks: Ranks) -> None:
    found = caught(ranks, "x", on(ranks, 3, Mute()))
    assert found.parnwb_rank == 3 and isinstance(found, Mute | RemoteError)


def case_exits_do_not_let_others_wait(ranks: Ranks) -> None:
    """`sys.exit(0)` in a source on one rank must not end it alone, nor end all of them with success."""
    for error in (SystemExit(0), SystemExit("bad"), KeyboardInterrupt(), GeneratorExit()):
        found = caught(ranks, "x", on(ranks, 1, error))
        assert_remote(ranks, found, 1, type(error), type(error).__name__)


def case_stop_iteration(ranks: Ranks) -> None:
    """Python turns it into another error wherever a generator raises it, and `agreed` is one."""
    found = caught(ranks, "x", on(ranks, 2, StopIteration("exhausted")))
    assert isinstance(found, StopIteration | RemoteError), repr(found)
    assert found.parnwb_rank == 2
    assert "exhausted" in str(found)


# -- different calls -----------------------------------------------------------------------------------------


def case_different_calls_are_named(ranks: Ranks) -> None:
    try:
        ranks.meet("close" if ranks.rank == 2 else "write")
    except AgreementError as error:
        assert "rank 0 is in 'write', rank 2 in 'close'" in str(error)
        assert ranks.all_know(error)
    else:
        raise AssertionError("not noticed")


def case_an_error_is_told_before_different_calls(ranks: Ranks) -> None:
    found = caught(ranks, f"call {ranks.rank}", on(ranks, 1, ValueError("first")))
    assert type(found) is ValueError


def case_leaving_with_an_error(ranks: Ranks) -> None:
    """One rank's script fails between two calls; the others learn it in their next."""
    error = ValueError("in the script of rank 2")
    if ranks.rank == 2:
        ranks.fail(error)
        return
    found = caught(ranks, "write", lambda: None)
    assert type(found) is ValueError and found.args == error.args and found.parnwb_rank == 2


def case_all_leave_with_an_error(ranks: Ranks) -> None:
    ranks.fail(ValueError(ranks.rank))


# -- alarms --------------------------------------------------------------------------------------------------


def case_wait_until_leaves(ranks: Ranks) -> None:
    def work() -> None:
        if ranks.rank == 2:
            time.sleep(0.05)
            raise ValueError("late")
        ranks.wait_until(lambda: False)

    assert type(caught(ranks, "waiting", work)) is ValueError


def case_look_up_leaves(ranks: Ranks) -> None:
    rounds = 0

    def work() -> None:
        nonlocal rounds
        if ranks.rank == 0:
            time.sleep(0.05)
            raise ValueError("late")
        while True:
            ranks.look_up()
            rounds += 1

    assert type(caught(ranks, "looking up", work)) is ValueError
    assert ranks.rank == 0 or rounds > 0


def case_look_up_stays_where_all_is_well(ranks: Ranks) -> None:
    with ranks.agreed("working"):
        for _ in range(100):
            ranks.look_up()


def case_waiting_serves_meanwhile(ranks: Ranks) -> None:
    """The root answers requests while it waits, as it does for addresses."""
    answered = []

    def serve() -> bool:
        message = ranks.receive(1)
        if message is None:
            return False
        sender, numbers = message
        answered.append(sender)
        ranks.send(numbers * 2, sender, 2)
        return True

    with ranks.agreed("asking"):
        if ranks.is_root:
            ranks.wait_until(lambda: len(answered) == 3 * (ranks.size - 1), serve)
        else:
            for number in range(3):
                ranks.send(np.array([ranks.rank, number], dtype=np.int64), 0, 1)
                reply: list[np.ndarray] = []
                ranks.wait_until(lambda found=reply: bool(found or collect(ranks, found)))
                assert reply[0].tolist() == [2 * ranks.rank, 2 * number]


def collect(ranks: Ranks, found: list[np.ndarray]) -> bool:
    """Put a reply of the root into `found` if there is one."""
    message = ranks.receive(2, source=0)
    if message is not None:
        found.append(message[1])
    return message is not None


def case_random_failures_leave_nothing_behind(ranks: Ranks) -> None:
    """Two hundred agreements, random ranks failing in each, the others caught in all kinds of work."""
    common, own = random.Random(1), random.Random(1000 + ranks.rank)
    for number in range(200):
        failing = {rank for rank in range(ranks.size) if common.random() < 0.3}
        kinds = [common.choice(["nothing", "wait", "look up"]) for _ in range(ranks.size)]

        def work(failing: set[int] = failing, kind: str = kinds[ranks.rank], number: int = number) -> None:
            if own.random() < 0.5:
                time.sleep(own.random() * 1e-3)
            if ranks.rank in failing:
                raise ValueError(number, ranks.rank)
            if failing and kind == "wait":
                ranks.wait_until(lambda: False)
            while failing and kind == "look up":
                ranks.look_up()

        if not failing:
            with ranks.agreed(f"round {number}"):
                work()
            continue
        found = caught(ranks, f"round {number}", work)
        assert found.args == (number, min(failing)), (found, failing)
        assert found.parnwb_rank == min(failing)
        if number % 20 == 0:
            assert_no_messages(ranks)


def case_alarm_is_not_seen_outside(ranks: Ranks) -> None:
    """`Alarmed` never gets out, and work that catches all exceptions does not hold it up."""
    assert not issubclass(Alarmed, Exception)

    def work() -> None:
        if ranks.rank == 1:
            raise ValueError("x")
        try:
            ranks.wait_until(lambda: False)
        except Exception as error:
            raise AssertionError("an alarm must not be taken for an error") from error

    assert type(caught(ranks, "x", work)) is ValueError


def case_sender_leaves_a_receiver_that_failed(ranks: Ranks) -> None:
    """Large messages wait for their receiver; here it never comes."""
    private = Ranks(ranks.comm)

    def work() -> None:
        if private.is_root:
            time.sleep(0.05)
            raise ValueError("the root has gone")
        private.send(np.zeros(4_000_000, dtype=np.int64), 0, 1)

    assert type(caught(private, "sending", work)) is ValueError
    assert_no_messages(private)
    private.meet("afterwards")
    private.free()


def case_messages_of_an_abandoned_block_are_gone(ranks: Ranks) -> None:
    """Requests and alarms under way when a rank fails reach neither the next block nor the next file."""
    for number in range(30):
        private = Ranks(MPI.COMM_WORLD)

        def work(private: Ranks = private, number: int = number) -> None:
            if private.rank == number % private.size:
                raise ValueError(number)
            for other in range(private.size):
                if other != private.rank:
                    private.send(np.full(number * 100, number, dtype=np.int64), other, 1)
            private.wait_until(lambda: False, lambda: private.receive(1) is not None and number % 2 == 0)

        assert caught(private, "sending", work).args == (number,)
        assert_no_messages(private)
        private.meet("afterwards")
        private.free()


def case_early_ranks_sleep(ranks: Ranks) -> None:
    """Ranks that have finished leave the cores to those that have not."""
    before = time.process_time()
    with ranks.agreed("working"):
        if ranks.is_root:
            time.sleep(0.5)
    assert time.process_time() - before < 0.25


# -- values --------------------------------------------------------------------------------------------------


def case_same_passes_what_is_the_same(ranks: Ranks) -> None:
    ranks.same({"path": "/out", "level": 4, "settings": ("a", None)}, "Give the same")


def case_a_rank_that_does_not_know_agrees(ranks: Ranks) -> None:
    ranks.same({"version": "1.0" if ranks.is_root else ..., "path": "/out"}, "Install the same")


def case_values_of_any_length_are_gathered(ranks: Ranks) -> None:
    for length in (0, 100, 1000):
        assert ranks.gather_all("x" * length) == ["x" * length] * ranks.size
        assert ranks.gather_all("y" * length * ranks.rank) == ["y" * length * rank for rank in range(ranks.size)]


def case_same_names_rank_value_and_both(ranks: Ranks) -> None:
    try:
        ranks.same({"path": "/out", "level": 5 if ranks.rank >= 2 else 4}, "Give the same")
    except AgreementError as error:
        assert str(error) == "level must be the same on all ranks: rank 0 has 4, rank 2 has 5. Give the same"
        assert ranks.all_know(error)
    else:
        raise AssertionError("not noticed")


def case_same_names_what_only_one_has(ranks: Ranks) -> None:
    for who in (0, 3):
        values = {"path": "/out", **({"extra": 1} if ranks.rank == who else {})}
        try:
            ranks.same(values, "Give the same")
        except AgreementError as error:
            assert "extra must be the same on all ranks" in str(error) and "none" in str(error)
        else:
            raise AssertionError("not noticed")


def case_same_tells_types_apart(ranks: Ranks) -> None:
    try:
        ranks.same({"level": 4.0 if ranks.rank == 1 else 4}, "Give the same")
    except AgreementError as error:
        assert "rank 0 has 4, rank 1 has 4.0" in str(error)
    else:
        raise AssertionError("not noticed")


def case_broadcast_and_gather(ranks: Ranks) -> None:
    assert ranks.broadcast({"of": ranks.rank}) == {"of": 0}
    assert ranks.gather_all(ranks.rank**2) == [0, 1, 4, 9]


def case_the_root_alone_has_what_is_gathered_there(ranks: Ranks) -> None:
    own = {"of": ranks.rank, "more": b"x" * (1000 * ranks.rank)}
    gathered = ranks.gather(own)
    assert (gathered is not None) == ranks.is_root
    if gathered is not None:
        assert [(item["of"], len(item["more"])) for item in gathered] == [(rank, 1000 * rank) for rank in range(4)]


def case_on_root(ranks: Ranks) -> None:
    calls = []
    assert ranks.on_root("x", lambda: calls.append(1) or os.getpid()) == ranks.broadcast(os.getpid())
    assert len(calls) == (1 if ranks.is_root else 0)
    try:
        ranks.on_root("x", lambda: 1 // 0)
    except ZeroDivisionError as error:
        assert error.parnwb_rank == 0
    else:
        raise AssertionError("not raised")


def case_any_failed(ranks: Ranks) -> None:
    assert ranks.any_failed(False) is False
    assert ranks.any_failed(ranks.rank == 3) is True
    assert ranks.any_failed(True) is True


# -- messages ------------------------------------------------------------------------------------------------


def case_messages_of_all_sizes_in_a_ring(ranks: Ranks) -> None:
    right, left = (ranks.rank + 1) % ranks.size, (ranks.rank - 1) % ranks.size
    for size in (0, 1, 4, 1000, 300_000):
        found: list[tuple[int, np.ndarray]] = []

        def arrived(found: list[tuple[int, np.ndarray]] = found) -> bool:
            message = ranks.receive(5)
            found.extend([message] if message else [])
            return bool(found)

        ranks.send(np.full(size, ranks.rank, np.int64), right, 5)  # all at once, before anyone receives
        ranks.wait_until(arrived)
        sender, numbers = found[0]
        assert sender == left and numbers.tolist() == [left] * size and numbers.dtype == np.int64


def case_receive_tells_tags_and_sources_apart(ranks: Ranks) -> None:
    assert ranks.receive(7) is None
    ranks.meet("before")
    if ranks.rank == 1:
        ranks.send(np.array([8], dtype=np.int64), 0, 8)
        ranks.send(np.array([7], dtype=np.int64), 0, 7)
    ranks.meet("after")
    if ranks.is_root:
        assert ranks.receive(7, source=2) is None
        assert ranks.receive(7, source=1)[1].tolist() == [7]
        assert ranks.receive(8) is not None and ranks.receive(8) is None


# -- communicators -------------------------------------------------------------------------------------------


def case_private_duplicate(ranks: Ranks) -> None:
    """A program's own messages, even with the tag of the alarm, are never taken for ours."""
    assert ranks.comm != MPI.COMM_WORLD
    if ranks.rank == 1:
        MPI.COMM_WORLD.send("mine", dest=0, tag=ALARM_TAG)
    MPI.COMM_WORLD.Barrier()
    with ranks.agreed("working"):
        ranks.look_up()
    if ranks.is_root:
        assert MPI.COMM_WORLD.recv(source=1, tag=ALARM_TAG) == "mine"


def case_part_of_the_world(ranks: Ranks) -> None:
    """Two files by two halves, one of which fails."""
    half = MPI.COMM_WORLD.Split(ranks.rank % 2)
    private = Ranks(half)
    assert (private.size, private.rank) == (2, ranks.rank // 2)
    if ranks.rank % 2:
        assert type(caught(private, "odd", on(private, 1, ValueError("x")))) is ValueError
    else:
        private.meet("even")
    private.free()
    half.Free()


def case_hosts_of_one_name_are_told_apart(ranks: Ranks) -> None:
    """As clones of a machine have it; ranks 0 and 1 are on one of them, 2 and 3 on the other."""
    real = Node.here
    Node.here = classmethod(lambda cls: cls("clone", f"boot-{ranks.rank // 2}", "net:[1]"))
    try:
        private = Ranks(MPI.COMM_WORLD)
    finally:
        Node.here = real
    assert private.hosts == ("clone#1", "clone#1", "clone#2", "clone#2")
    assert private.leads_host == (private.rank % 2 == 0)
    found = caught(private, "x", lambda: private.same({"x": private.rank // 2}, "Mend it"))
    assert "rank 2 on clone#2 has 1" in str(found), found
    private.free()


def case_rank_by_itself(ranks: Ranks) -> None:
    private = Ranks(MPI.COMM_SELF)
    assert (private.size, private.rank, private.comm) == (1, 0, None)
    private.meet("alone")
    private.free()


def case_free_twice_and_many(ranks: Ranks) -> None:
    """Communicators are few on every MPI: those that are given back can be had again."""
    for _ in range(50):
        private = Ranks(MPI.COMM_WORLD)
        private.meet("x")
        private.free()
        private.free()


def case_a_watchdog_on_some_ranks_only(ranks: Ranks) -> None:
    """A mistake that ranks find out together: until then they go on."""
    private = Ranks(MPI.COMM_WORLD, 60.0 if ranks.rank % 2 else None)
    try:
        private.same({"watchdog": private.rank % 2}, "Pass the same keywords on every rank")
        raise AssertionError("it went unnoticed")
    except AgreementError as error:
        assert "watchdog must be the same on all ranks" in str(error)
    private.free()


def case_error_of_others_is_not_known_here(ranks: Ranks) -> None:
    private = Ranks(MPI.COMM_WORLD)
    found = caught(private, "x", on(private, 1, ParnwbError("x")))
    assert private.all_know(found) and not ranks.all_know(found)
    assert not private.all_know(ParnwbError("y"))
    private.free()


# -- running -------------------------------------------------------------------------------------------------


def assert_no_messages(ranks: Ranks) -> None:
    """Check that nothing is under way on the communicator."""
    ranks.comm.Barrier()
    time.sleep(0.002)
    left_over = ranks.comm.Iprobe(source=MPI.ANY_SOURCE, tag=MPI.ANY_TAG)
    ranks.comm.Barrier()
    assert not left_over, "a message is left over"


def failures_of(work: Callable[[Ranks], None], ranks: Ranks) -> list[str]:
    """Run `work` and return what went wrong in it on any rank."""
    mine = None
    try:
        work(ranks)
    except BaseException:
        mine = f"rank {ranks.rank}: {traceback.format_exc()}"
    return [text for text in MPI.COMM_WORLD.allgather(mine) if text]


def main() -> None:
    """Run the cases and print the failures of all ranks."""
    ranks = Ranks(MPI.COMM_WORLD)
    failures: dict[str, list[str]] = {}
    for name, case in list(vars(sys.modules[__name__]).items()):
        if not name.startswith("case_"):
            continue
        if ranks.is_root:
            print(f"running {name}", file=sys.stderr, flush=True)
        failures[name] = failures_of(case, ranks) or failures_of(assert_no_messages, ranks)
        if failures[name]:  # what is left over must not spoil the next case
            ranks = Ranks(MPI.COMM_WORLD)
    if ranks.is_root:
        print("RESULT", json.dumps(failures), flush=True)


if __name__ == "__main__":
    main()

"""The journal: whatever is done to its file, what is read back is a prefix of what was written, or a clear refusal."""

from __future__ import annotations

import json
import os
import random
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parnwb.commits.journal import (
    CHECK,
    LIMIT,
    MARK,
    PREFIX,
    RECORD_COLUMNS,
    Committed,
    Frame,
    Journal,
    StreamState,
    check_covered,
    committed_records,
    crc32c,
    frames,
    no_records,
    replay,
    without_open_chunks,
)
from parnwb.errors import ResumeError, StorageError

HEADER = PREFIX.size + CHECK.size


def frame(number: int, *, complete: bool = False, description: dict[str, Any] | None = None) -> Frame:
    """Return a small frame, different for every number."""
    rows = np.arange(number * RECORD_COLUMNS, dtype=np.int64).reshape(number, RECORD_COLUMNS) + 100 * number
    extents = tuple((1000 * number + 10 * i, bytes([65 + i]) * (i + number)) for i in range(2))
    return Frame({"number": number} if description is None else description, 5000 + number, rows, extents, complete)


def same(one: Frame, other: Frame) -> bool:
    return (
        (one.description, one.end, one.extents, one.complete)
        == (other.description, other.end, other.extents, other.complete)
        and one.records.dtype == other.records.dtype == np.int64
        and np.array_equal(one.records, other.records)
    )


def written(path: Path, *kept: Frame) -> list[int]:
    """Write a journal and return its length after each frame."""
    journal, ends = Journal.create(path), []
    for item in kept:
        journal.append(item)
        ends.append(path.stat().st_size)
    journal.close()
    return ends


def raw(payload: bytes, after: Path | None = None, length: int | None = None, mark: bytes = MARK) -> bytes:
    """Return a frame of any payload with right checksums, and perhaps a wrong length."""
    sequence, checksum = 0, 0
    if after is not None and after.stat().st_size:
        committed = replay(after)
        sequence, checksum = committed.sequence, committed.checksum
    prefix = PREFIX.pack(mark, sequence, len(payload) if length is None else length, crc32c(payload, checksum))
    return prefix + CHECK.pack(crc32c(prefix)) + payload


def payload(head: Any, rest: bytes = b"", length: int | None = None) -> bytes:
    """Return a frame's payload with any head."""
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    return CHECK.pack(len(text) if length is None else length) + text + rest


GOOD = {"description": {}, "end": 5, "complete": False, "records": 0, "extents": [], "streams": []}


def outcome(path: Path) -> list[Frame] | None:
    """Return the frames that a journal holds, None where it is refused; anything else is an error of the test."""
    try:
        committed = replay(path)
    except ResumeError:
        return None
    found = [item for item, _ in frames(path)]
    assert committed.sequence == len(found)
    return found


def assert_prefix(found: list[Frame] | None, kept: list[Frame]) -> int:
    """Check that what was found are the first frames of what was kept, and return how many."""
    count = len(found or [])
    assert count <= len(kept)
    assert all(same(one, other) for one, other in zip(found or [], kept, strict=False))
    return count


# -- round trip ------------------------------------------------------------------------------------------------

numbers = st.integers(0, LIMIT - 1)
descriptions = st.dictionaries(
    st.text(max_size=5),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=5,
    ),
    max_size=3,
)
any_frame = st.builds(
    Frame,
    description=descriptions,
    end=numbers,
    records=st.lists(st.lists(numbers, min_size=RECORD_COLUMNS, max_size=RECORD_COLUMNS), max_size=5).map(
        lambda rows: np.array(rows, dtype=np.int64).reshape(-1, RECORD_COLUMNS)
    ),
    extents=st.lists(st.tuples(numbers, st.binary(max_size=40)), max_size=4).map(tuple),
    complete=st.booleans(),
)


def laid_out(extents):
    """Return the byte at each address; later extents win."""
    return {address + number: byte for address, data in extents for number, byte in enumerate(data)}


@given(st.lists(any_frame, min_size=1, max_size=5), st.data())
@settings(deadline=None, max_examples=60)
def test_frames_come_back_as_they_were_and_a_torn_tail_is_left_out(tmp_path_factory, kept, data):
    path = tmp_path_factory.mktemp("journal") / "j"
    ends = written(path, *kept)
    assert assert_prefix(outcome(path), kept) == len(kept)
    committed = replay(path)
    assert committed.description == kept[0].description
    assert (committed.end, committed.complete, committed.size) == (kept[-1].end, kept[-1].complete, ends[-1])
    assert np.array_equal(committed.records, np.concatenate([item.records for item in kept]))
    assert laid_out(committed.extents) == laid_out(extent for item in kept for extent in item.extents)

    size = data.draw(st.integers(0, ends[-1]))
    os.truncate(path, size)
    assert assert_prefix(outcome(path), kept) == sum(end <= size for end in ends)


def test_every_torn_tail(tmp_path):
    path, kept = tmp_path / "j", [frame(0), frame(2), frame(1, complete=True)]
    ends = written(path, *kept)
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        assert assert_prefix(outcome(path), kept) == sum(end <= size for end in ends)
        path.write_bytes(content[:size].ljust(len(content), b"\0"))  # the size was made safe, the bytes were not
        whole = assert_prefix(outcome(path), kept)
        # Zeros that were zeros before are no damage.
        assert whole == sum(content[size:end].count(0) == end - size for end in ends if end > size) + sum(
            end <= size for end in ends
        )


def test_a_flipped_bit_anywhere_ends_the_journal_before_its_frame(tmp_path):
    path, kept = tmp_path / "j", [frame(0), frame(2), frame(1)]
    ends = written(path, *kept)
    content = bytearray(path.read_bytes())
    for position in range(len(content)):
        for bit in range(8):
            content[position] ^= 1 << bit
            path.write_bytes(content)
            assert assert_prefix(outcome(path), kept) == sum(end <= position for end in ends)
            content[position] ^= 1 << bit


@given(st.data())
@settings(deadline=None, max_examples=200)
def test_any_damage_leaves_a_prefix(tmp_path_factory, data):
    """Bytes overwritten, cut out and put in at random places."""
    path = tmp_path_factory.mktemp("journal") / "j"
    kept = [frame(0), frame(2), frame(1), frame(3)]
    written(path, *kept)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        low = data.draw(st.integers(0, len(content)))
        high = min(len(content), low + data.draw(st.integers(0, 200)))
        content[low:high] = data.draw(st.binary(max_size=100) | st.just(bytes(high - low)))
    path.write_bytes(content)
    assert_prefix(outcome(path), kept)


# -- order and what belongs together ---------------------------------------------------------------------------


def test_frames_count_in_order_only(tmp_path):
    path, kept = tmp_path / "j", [frame(1), frame(2), frame(3)]
    ends = [0, *written(path, *kept)]
    content = path.read_bytes()
    first, second, third = (content[a:b] for a, b in zip(ends, ends[1:], strict=False))
    for pieces, count in {
        (first, third): 1,
        (first, second, second): 2,
        (first, second, first): 2,
        (first, first): 1,
        (second, third): 0,
        (third,): 0,
        (first, b"\0" * 8, second): 1,
    }.items():
        path.write_bytes(b"".join(pieces))
        assert assert_prefix(outcome(path), kept) == count


def test_another_kind_of_journal_is_refused(tmp_path):
    path = tmp_path / "j"
    path.write_bytes(raw(payload(GOOD), mark=b"parnwbJ2"))
    with pytest.raises(ResumeError, match="no whole commit"):
        replay(path)


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"parnwbJ1", random.Random(1).randbytes(500)])
def test_what_is_no_journal_is_refused(tmp_path, content):
    path = tmp_path / "j"
    path.write_bytes(content)
    with pytest.raises(ResumeError, match="no whole commit"):
        replay(path)


def test_no_journal_is_refused(tmp_path):
    with pytest.raises(ResumeError, match="nothing to resume"):
        replay(tmp_path / "none")
    with pytest.raises(ResumeError, match="nothing to resume"):
        replay(tmp_path)


def test_the_description_is_the_first_frames_and_the_end_the_last_ones(tmp_path):
    path = tmp_path / "j"
    written(path, frame(1, description={"a": 1}), frame(2, description={"a": 2}), frame(3, complete=True))
    committed = replay(path)
    assert (committed.description, committed.end, committed.complete) == ({"a": 1}, 5003, True)
    written(path, frame(3, complete=True), frame(1))
    assert not replay(path).complete  # somebody has gone on


def test_what_was_written_several_times_is_kept_once(tmp_path):
    """Each commit writes the same metadata again: a journal of days must fit into memory."""
    path = tmp_path / "j"
    both = [Frame({}, 10, no_records(), ((0, b"old"), (3, b"x"))), Frame({}, 10, no_records(), ((0, b"new"),))]
    written(path, *both)
    assert replay(path).extents == ((0, b"newx"),)


# -- writing ---------------------------------------------------------------------------------------------------


def test_create_replaces_what_is_there_and_follows_no_link(tmp_path):
    path, precious = tmp_path / "j", tmp_path / "precious"
    precious.write_bytes(b"precious")
    path.symlink_to(precious)
    written(path, frame(1))
    assert precious.read_bytes() == b"precious"
    assert not path.is_symlink()
    written(path, frame(2))
    assert assert_prefix(outcome(path), [frame(2)]) == 1


def test_reopen_cuts_the_tail_and_goes_on(tmp_path):
    path, kept = tmp_path / "j", [frame(1), frame(2), frame(3)]
    ends = written(path, *kept)
    with path.open("r+b") as file:
        file.seek(ends[1] + HEADER + 3)
        file.write(b"damage")
    journal = Journal.reopen(path, replay(path))
    assert path.stat().st_size == ends[1]
    journal.append(frame(4))
    journal.append(frame(5))
    journal.close()
    assert assert_prefix(outcome(path), [*kept[:2], frame(4), frame(5)]) == 4


def test_frames_of_the_former_attempt_cannot_follow_those_of_the_next(tmp_path, monkeypatch):
    """One in the middle is damaged, the one after it whole: the cut is safe before anything is written there."""
    path, kept = tmp_path / "j", [frame(1), frame(2), frame(3)]
    ends = written(path, *kept)
    content = bytearray(path.read_bytes())
    content[ends[0] + HEADER + 9] ^= 1
    path.write_bytes(content)
    calls = []
    for name in ("ftruncate", "fsync", "pwritev"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, name=name, real=real: (calls.append(name), real(*a))[1])
    journal = Journal.reopen(path, replay(path))
    journal.append(frame(2))
    journal.close()
    assert calls == ["ftruncate", "fsync", "pwritev", "fsync"]
    assert assert_prefix(outcome(path), [frame(1), frame(2)]) == 2


def test_a_frame_is_safe_when_append_returns(tmp_path, monkeypatch):
    calls, real = [], os.fsync
    journal = Journal.create(tmp_path / "j")
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append(os.fstat(fd).st_size), real(fd))[1])
    journal.append(frame(2))
    assert calls == [(tmp_path / "j").stat().st_size]
    journal.close()


def test_append_that_fails_harms_nothing_before(tmp_path, monkeypatch):
    path = tmp_path / "j"
    journal = Journal.create(path)
    journal.append(frame(1))
    real = os.pwritev

    def half(descriptor: int, batch: list[memoryview], address: int) -> int:
        real(descriptor, [b"".join(batch)[:20]], address)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwritev", half)
    with pytest.raises(StorageError, match="No space"):
        journal.append(frame(2))
    monkeypatch.undo()
    assert assert_prefix(outcome(path), [frame(1)]) == 1
    journal.append(frame(3))  # nothing but its sequence decides
    journal.close()
    assert assert_prefix(outcome(path), [frame(1), frame(3)]) == 2


def test_a_frame_in_more_pieces_than_one_call_takes(tmp_path):
    path = tmp_path / "j"
    large = Frame({}, 10, no_records(), tuple((n * 10, b"%05d" % n) for n in range(3000)))
    written(path, frame(0), large, frame(1))
    assert assert_prefix(outcome(path), [frame(0), large, frame(1)]) == 3


# -- absurd values ---------------------------------------------------------------------------------------------


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Allow 500 MB more than there are now: whoever believes a length of a terabyte fails."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 500 * 2**20, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("length", [1, 2**31, 2**32 + 7, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize("before", [0, 1])
def test_a_length_beyond_the_file_is_not_believed(tmp_path, little_memory, length, before):
    """The prefix has the right checksum."""
    path, kept = tmp_path / "j", [frame(1)] * before
    written(path, *kept)
    prefix = PREFIX.pack(MARK, before, length, 0)
    with path.open("ab") as file:
        file.write(prefix + CHECK.pack(crc32c(prefix)))
    assert assert_prefix(outcome(path), kept) == before


ROW = np.zeros(RECORD_COLUMNS, dtype="<i8")
ABSURD = {
    "nothing": b"",
    "three_bytes": b"abc",
    "head_longer_than_all": payload(GOOD, length=10**9),
    "head_cut": payload(GOOD, length=9),
    "no_json": payload(b"\xff\xfe{"),
    "deep": payload(b"[" * 200_000),
    "list": payload([1, 2, 3]),
    "number": payload(7),
    "null": payload(None),
    "no_end": payload({k: v for k, v in GOOD.items() if k != "end"}),
    "no_extents": payload({k: v for k, v in GOOD.items() if k != "extents"}),
    "description_is_a_list": payload({**GOOD, "description": [1]}),
    "end_negative": payload({**GOOD, "end": -1}),
    "end_huge": payload({**GOOD, "end": 2**64}),
    "end_text": payload({**GOOD, "end": "5"}),
    "end_fraction": payload({**GOOD, "end": 5.0}),
    "end_nan": payload(json.dumps({**GOOD, "end": float("nan")}).encode()),
    "end_true": payload({**GOOD, "end": True}),
    "records_negative": payload({**GOOD, "records": -1}, bytes(48)),
    "records_huge": payload({**GOOD, "records": 2**61}),
    "records_too_huge": payload({**GOOD, "records": 10**30}),
    "records_missing": payload({**GOOD, "records": 2}, bytes(48)),
    "bytes_left": payload(GOOD, b"left"),
    "no_streams": payload({k: v for k, v in GOOD.items() if k != "streams"}),
    "streams_text": payload({**GOOD, "streams": "ab"}),
    "stream_short": payload({**GOOD, "streams": [[0, 1, 0]]}),
    "stream_negative": payload({**GOOD, "streams": [[0, -1, 0, 0]]}),
    "stream_missing": payload({**GOOD, "streams": [[0, 1, 0, 8]]}, b"abc"),
    "extents_text": payload({**GOOD, "extents": "ab"}),
    "extent_short": payload({**GOOD, "extents": [[1]]}),
    "extent_long": payload({**GOOD, "extents": [[1, 1, 1]]}, b"a"),
    "extent_negative": payload({**GOOD, "extents": [[0, 5], [9, -5]]}),
    "extent_address_negative": payload({**GOOD, "extents": [[-8, 3]]}, b"abc"),
    "extent_huge": payload({**GOOD, "extents": [[0, 2**61]]}),
    "extent_missing": payload({**GOOD, "extents": [[0, 4]]}, b"abc"),
    "record_negative": payload({**GOOD, "records": 1}, (ROW - 1).tobytes()),
    "record_huge": payload({**GOOD, "records": 1}, (ROW + 2**62).tobytes()),
}


@pytest.mark.parametrize("name", ABSURD)
@pytest.mark.parametrize("before", [0, 2])
def test_absurd_values_under_a_right_checksum_are_refused(tmp_path, little_memory, name, before):
    path = tmp_path / "j"
    written(path, *[frame(1)] * before)
    with path.open("ab") as file:
        file.write(raw(ABSURD[name], path))
    with pytest.raises(ResumeError, match="makes no sense"):
        replay(path)


def test_the_same_with_sensible_values_is_taken(tmp_path):
    path = tmp_path / "j"
    path.write_bytes(raw(payload({**GOOD, "records": 1, "extents": [[3, 2]]}, ROW.tobytes() + b"ab")))
    committed = replay(path)
    assert (committed.records.tolist(), committed.extents) == ([[0] * RECORD_COLUMNS], ((3, b"ab"),))


# -- the partial file ------------------------------------------------------------------------------------------


def committed_with(*places: tuple[int, int]) -> Committed:
    rows = np.array([(0, n, address, nbytes, 0, 0) for n, (address, nbytes) in enumerate(places)], dtype=np.int64)
    return Committed({}, 10**6, rows.reshape(-1, RECORD_COLUMNS), ((5000, b"metadata"),), False, 0, 1, 0)


@pytest.mark.parametrize(
    ("places", "size"), [([], 0), ([(0, 10)], 10), ([(90, 10), (0, 50)], 100), ([(90, 10)], 5000)]
)
def test_a_partial_file_that_covers_its_chunks(tmp_path, places, size):
    """Metadata need not be there: the journal has them."""
    path = tmp_path / "p"
    path.write_bytes(bytes(size))
    check_covered(path, committed_with(*places))


@pytest.mark.parametrize(
    ("places", "size"), [([(0, 10)], 9), ([(90, 10), (0, 50)], 99), ([(90, 10)], 0), ([(LIMIT - 1, LIMIT - 1)], 9)]
)
def test_a_partial_file_that_is_too_short(tmp_path, places, size):
    path = tmp_path / "p"
    path.write_bytes(bytes(size))
    with pytest.raises(StorageError, match="shorter"):
        check_covered(path, committed_with(*places))


def test_no_partial_file(tmp_path):
    with pytest.raises(StorageError, match="missing, of which 1 bytes were committed"):
        check_covered(tmp_path / "p", committed_with((0, 1)))
    with pytest.raises(StorageError, match="missing, of which 0 bytes were committed"):
        check_covered(tmp_path / "p", committed_with())


def test_frames_of_another_journal_do_not_fit(tmp_path):
    """Each is whole and has the right number, but goes on from other frames."""
    one, other = tmp_path / "one", tmp_path / "other"
    ends = written(one, frame(1), frame(2)), written(other, frame(3), frame(2))
    head, tail = one.read_bytes()[: ends[0][0]], other.read_bytes()[ends[1][0] :]
    one.write_bytes(head + tail)
    assert replay(one).sequence == 1 and replay(one).size == ends[0][0]


def test_rows_of_streams_travel_and_the_latest_count(tmp_path):
    path = tmp_path / "journal"
    journal = Journal.create(path)
    states = [
        {1: StreamState(7, 4, b"abc"), 4: StreamState(0, 0)},
        {},
        {1: StreamState(9, 8, b"d"), 4: StreamState(2, 0)},
    ]
    rows = [
        [(1, 3, 10, 2, 0, 5), (1, 4, 20, 2, 0, 6)],
        [(0, 9, 30, 1, 0, 1)],
        [(1, 4, 20, 3, 0, 7), (1, 8, 40, 1, 0, 1)],
    ]
    for state, records in zip(states, rows, strict=True):
        journal.append(Frame({}, 50, np.array(records, dtype=np.int64), (), streams=state))
    journal.close()
    committed = replay(path)
    assert committed.streams == states[2]
    latest = [rows[0][0], rows[1][0], *rows[2]]  # a chunk that was written anew counts as it was written last
    assert sorted(map(tuple, committed.records.tolist())) == sorted(latest)
    assert sorted(map(tuple, committed_records(path).tolist())) == sorted(latest)
    done = without_open_chunks(committed).records.tolist()
    assert sorted(map(tuple, done)) == sorted(latest[:3])

"""Resume on one rank: what goes on, what is refused, and that nothing is lost on the way."""

from __future__ import annotations

import os
import random
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contract.compare import Snapshot
from failure.mounts import SMALL_BYTES, mounted
from failure.resuming import (
    SETTINGS,
    Slices,
    Stop,
    assert_finished,
    assert_goes_on,
    assert_same,
    commits_every,
    committed_in,
    comparable,
    journal_of,
    noise,
    partial_of,
    session,
    small_pieces,
    stopped_at,
    write,
    write_plainly,
)
from pynwb import NWBHDF5IO, H5DataIO, NWBFile, TimeSeries

import parnwb.commits.stored
from parnwb import NWBParallelIO
from parnwb.commits.journal import Committed, Frame, Journal, frames, no_records, replay
from parnwb.errors import ParnwbError, ResumeError, StorageError, TargetError
from parnwb.hyperslab import unravel
from parnwb.interrupts import SIGNALS
from parnwb.layout import DatasetSpec, FileLayout
from parnwb.restore import done_chunks
from parnwb.target import TOKEN_BYTES, Target

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@dataclass(frozen=True)
class Expected:
    """The session as pynwb writes it, and how large parnwb's file is if nothing interrupts it."""

    snapshot: Snapshot
    size: int
    batches: int

    def holds(self, path: Path) -> None:
        assert_finished(path, self.snapshot, self.size)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Expected:
    folder = tmp_path_factory.mktemp("expected")
    io = write(folder / "uninterrupted.nwb", session(), "w")
    plain = comparable(write_plainly(folder / "plain.nwb", session()))
    assert io.written is not None
    return Expected(plain, io.path.stat().st_size, sum(1 for _ in io.written.plan.buffers(0)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.nwb"


def begin(
    path: Path,
    batch: int = 20,
    every: int = 3,
    build: Callable[[], NWBFile] = session,
    mode: str = "w",
    **settings: Any,
) -> Committed:
    """Write until a batch, with a commit after every few, and return the last commit."""
    with commits_every(every), stopped_at(batch), pytest.raises(Stop):
        write(path, build(), mode, commit_interval=1, **settings)
    committed = committed_in(path)
    assert committed is not None
    return committed


def contents(path: Path) -> dict[str, bytes]:
    """Return all that lies beside a file, and the file."""
    return {item.name: item.read_bytes() for item in path.parent.iterdir()}


# -- going on --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8, 1.0])
def test_goes_on_after_any_commit_and_writes_only_the_rest(path, expected, every, share):
    batch = max(every + 1, int(expected.batches * share))
    before = begin(path, batch, every)
    assert 0 < len(before.records)
    assert not path.exists()
    with stopped_at(10**9) as encoded:
        io = write(path, session())
    expected.holds(path)
    done = {(int(dataset), int(position)) for dataset, position in before.records[:, :2]}
    assert not done & set(encoded)
    with small_pieces():
        chunks = sum(spec.grid.size for spec in io.written.plan.layout)
    assert len(done) + len(encoded) == chunks == len(done | set(encoded))


def test_an_attempt_after_the_other(path, expected):
    """Each gets a little further; none moves what others have committed."""
    before, attempts = None, 0
    while not path.exists():
        attempts += 1
        try:
            with commits_every(1), stopped_at(3):
                write(path, session(), commit_interval=1)
        except Stop:
            after = committed_in(path)
            assert_goes_on(before, after)
            before = after
    assert attempts > expected.batches // 3
    expected.holds(path)


def test_stop_before_the_first_chunk_leaves_nothing_and_resume_begins(path, expected):
    with stopped_at(0), pytest.raises(Stop):
        write(path, session())
    assert contents(path) == {}
    write(path, session())
    expected.holds(path)


def test_uncommitted_work_is_done_again(path, expected):
    with commits_every(1000), stopped_at(20), pytest.raises(Stop):
        write(path, session(), commit_interval=1)
    assert contents(path) == {}, "nothing was committed, so there is nothing to keep"
    write(path, session())
    expected.holds(path)


@pytest.mark.parametrize("interval", [1e-9, 1e-4])
def test_commits_without_a_pause_do_not_stop_the_work(path, expected, interval):
    write(path, session(), commit_interval=interval)
    expected.holds(path)


def test_settings_that_do_not_change_the_file_may_change(path, expected):
    begin(path, decomposition="slab")
    write(path, session(), decomposition="block", commit_interval=5, buffer_mb=7)
    expected.holds(path)


def test_the_read_grid_of_lazily_computed_data_may_not_change(path, expected, monkeypatch):
    begin(path)
    with monkeypatch.context() as patch:
        patch.setattr("failure.resuming.READ_GRID_BYTES", 7)
        with pytest.raises(ResumeError, match="version of parnwb.*it was 10000, now it is 7.*read_grid_bytes"):
            write(path, session())
    write(path, session())
    expected.holds(path)


def test_resume_with_nothing_there_begins(path, expected):
    write(path, session())
    expected.holds(path)


@pytest.mark.parametrize("content", [b"", b"parnwbJ1", random.Random(1).randbytes(300)])
def test_a_journal_that_holds_nothing_means_that_nothing_was_done(path, expected, content):
    """Its first frame is whole before the partial file holds more than its token."""
    partial_of(path).write_bytes(bytes(TOKEN_BYTES))
    journal_of(path).write_bytes(content)
    write(path, session())
    expected.holds(path)


def test_an_empty_journal_means_that_nothing_was_done(path, expected):
    partial_of(path).write_bytes(b"the rest of something else")
    journal_of(path).touch()
    write(path, session())
    expected.holds(path)


@pytest.mark.parametrize("cut", [1, 20, 500])
def test_a_damaged_first_frame_beside_data_is_refused(path, expected, cut):
    """It was whole before the first chunk came: what was done is not thrown away without a word."""
    begin(path)
    with journal_of(path).open("r+b") as file:
        file.truncate(cut)
    with stopped_at(0):
        assert_refused(path, ResumeError, "beginning of the journal is damaged", lambda: write(path, session()))
    write(path, session(), overwrite=True)
    expected.holds(path)


def test_a_torn_last_frame_means_the_commit_before(path, expected):
    before = begin(path)
    os.truncate(journal_of(path), before.size - 1)
    again = committed_in(path)
    assert again.sequence == before.sequence - 1
    write(path, session())
    expected.holds(path)


def test_a_journal_of_the_very_end(path, expected, monkeypatch):
    """All is written but the name: the next attempt gives it."""
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(5, "no")))
    with pytest.raises(StorageError, match="renamed"):
        write(path, session(), "w")
    monkeypatch.undo()
    assert committed_in(path).complete
    with stopped_at(10**9) as encoded:
        write(path, session())
    # The movie is read again, for it can only be read from its beginning; nothing of it is encoded.
    assert encoded == []
    expected.holds(path)


def test_a_finished_file_whose_journal_is_left(path, expected, monkeypatch):
    monkeypatch.setattr(Target, "forget_journal", lambda self: None)
    write(path, session(), "w")
    monkeypatch.undo()
    assert journal_of(path).exists()
    before, stamp = path.read_bytes(), path.stat().st_mtime_ns
    io = write(path, session())
    assert io.written.published
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (before, stamp)
    expected.holds(path)
    with pytest.raises(TargetError, match="exists"):
        write(path, session())


def test_metadata_that_were_where_a_chunk_is_now_do_not_come_back(path, expected):
    """HDF5 frees places and gives them out again: an early commit has metadata where a later one has a chunk."""
    begin(path)
    kept = [frame for frame, _ in frames(journal_of(path))]
    rows = np.concatenate([frame.records for frame in kept])
    former = tuple((int(address), b"x" * int(nbytes)) for address, nbytes in rows[:, [2, 3]])
    journal = Journal.create(journal_of(path))
    for number, frame in enumerate(kept):
        journal.append(replace(frame, extents=(former if number == 0 else ()) + frame.extents))
    journal.close()
    write(path, session())
    expected.holds(path)


def test_a_longer_partial_file_is_cut(path, expected):
    begin(path)
    with partial_of(path).open("ab") as file:
        file.write(b"behind the end" * 100_000)
    write(path, session())
    expected.holds(path)


# -- signals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_commits_and_ends_with_the_status_that_means_resume_me(path, expected, capsys, monkeypatch, number):
    from parnwb.backends import encoder

    real, calls = encoder.encode, []

    def encode(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 15:
            os.kill(os.getpid(), number)
        return real(*arguments)

    monkeypatch.setattr(encoder, "encode", encode)
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)]
    with pytest.raises(SystemExit) as raised:
        write(path, session(), "w")
    assert raised.value.code == 75
    os.kill(os.getpid(), number)  # passed on twice: it must not change the status
    for n, handler in zip((signal.SIGTERM, signal.SIGINT, signal.SIGUSR1), before, strict=True):
        signal.signal(n, handler)
    said = capsys.readouterr()
    assert said.err.count("asked to stop") == said.err.count("\n") == 1
    assert "--resume" in said.err
    assert len(committed_in(path).records) > 10
    monkeypatch.undo()
    write(path, session())
    expected.holds(path)


def test_a_signal_while_what_was_committed_is_read_is_heeded_at_once(path, expected, monkeypatch):
    """Reading it may take much longer than what a batch system waits."""
    with commits_every(3), stopped_at(20), pytest.raises(Stop):
        write(path, session(), "w", commit_interval=1)
    before, read = committed_in(path), []
    checksum = parnwb.commits.stored._checksum

    def signalled(*arguments: Any) -> int | None:
        read.append(1)
        if len(read) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return checksum(*arguments)

    monkeypatch.setattr(parnwb.commits.stored, "_checksum", signalled)
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    with pytest.raises(SystemExit) as raised:
        write(path, session())
    for number, handler in handlers.items():
        signal.signal(number, handler)
    assert raised.value.code == 75 and len(read) == 3
    monkeypatch.undo()
    assert_goes_on(before, committed_in(path))
    write(path, session())
    expected.holds(path)


def test_a_signal_before_anything_was_done_leaves_nothing(path, monkeypatch):
    from parnwb.interrupts import Interrupts

    enter = Interrupts.__enter__

    def early(self: Interrupts) -> Interrupts:
        enter(self).received = True
        return self

    monkeypatch.setattr(Interrupts, "__enter__", early)
    with pytest.raises(SystemExit) as raised:
        write(path, session(), "w")
    assert raised.value.code == 75
    committed_in(path)
    monkeypatch.undo()
    write(path, session())
    assert path.exists()


# -- what must be the same -------------------------------------------------------------------------------------


def one(data: Any, **keywords: Any) -> NWBFile:
    nwbfile = session(movie=False)
    nwbfile.add_acquisition(TimeSeries(name="one", data=data, unit="V", **{"rate": 1.0, **keywords}))
    return nwbfile


DATA = noise((4000, 4), seed=9)
OTHER: dict[str, tuple[Callable[[], NWBFile], Callable[[], NWBFile]]] = {
    "description": (session, lambda: session(description="another")),
    "values": (session, lambda: session(seed=1)),
    "values_of_one": (lambda: one(DATA), lambda: one(DATA + 1)),
    "shape": (lambda: one(DATA), lambda: one(DATA[:-1])),
    "dtype": (lambda: one(DATA), lambda: one(DATA.astype("i4"))),
    "one_less": (lambda: one(DATA), lambda: session(movie=False)),
    "one_more": (lambda: session(movie=False), lambda: one(DATA)),
    "rate": (lambda: one(DATA), lambda: one(DATA, rate=2.0)),
    "unwrapped": (lambda: one(H5DataIO(DATA, chunks=(100, 4))), lambda: one(DATA)),
    "chunks": (lambda: one(H5DataIO(DATA, chunks=(100, 4))), lambda: one(H5DataIO(DATA, chunks=(200, 4)))),
    "filters": (
        lambda: one(H5DataIO(DATA, compression="gzip", compression_opts=1)),
        lambda: one(H5DataIO(DATA, compression="gzip", compression_opts=9)),
    ),
    "fill_value": (lambda: one(H5DataIO(DATA, fillvalue=1)), lambda: one(H5DataIO(DATA, fillvalue=2))),
    "small_values": (
        lambda: one(np.arange(10)),
        lambda: one(np.arange(1, 11)),
    ),
}


def assert_refused(path: Path, error: type[ParnwbError], match: str, attempt: Callable[[], object]) -> None:
    """Check that something is refused and changes nothing on disk."""
    before = contents(path)
    with pytest.raises(error, match=match) as raised:
        attempt()
    assert raised.value.remedy
    assert contents(path) == before


@pytest.mark.parametrize("name", OTHER)
def test_another_nwbfile_is_refused_and_the_right_one_still_goes_on(path, tmp_path_factory, name):
    first, other = OTHER[name]
    begin(path, 10, 2, first)
    assert_refused(path, ResumeError, "must be the same", lambda: write(path, other()))
    write(path, first())
    assert_same(path, comparable(write_plainly(tmp_path_factory.mktemp("plain") / "plain.nwb", first())))


@pytest.mark.parametrize(
    ("begun", "now"), [(None, "gzip"), ("gzip", None), (4, "gzip"), (1, 2), ("auto", 1)]
)
def test_another_compression_is_refused(path, begun, now):
    begin(path, 10, 2, compression=begun)
    assert_refused(path, ResumeError, "compression", lambda: write(path, session(), compression=now))
    write(path, session(), compression=begun)
    assert path.exists()


def test_another_idea_of_bulk_is_refused(path):
    begin(path)
    assert_refused(path, ResumeError, "must be the same", lambda: write(path, session(), bulk_threshold=100_000))


@pytest.mark.parametrize(("name", "begun", "now"), [("cache_spec", True, False), ("expandable", ("VectorData",), ())])
def test_other_arguments_of_write_are_refused(path, expected, name, begun, now):
    """The cached specification and the extents of small tables are in the file, and not in the NWBFile."""

    def attempt(mode: str, value: object) -> None:
        with small_pieces(), NWBParallelIO(path, mode, commit_interval=1, **SETTINGS) as io:
            io.write(session(), **{name: value})

    with commits_every(3), stopped_at(20), pytest.raises(Stop):
        attempt("w", begun)
    assert_refused(path, ResumeError, name, lambda: attempt("resume", now))
    attempt("resume", begun)
    assert path.exists() and not partial_of(path).exists()


def with_terms() -> NWBFile:
    """Return the session with a HERD, which names an object by its id."""
    nwbfile = session()
    herd = nwbfile.get_external_resources()
    series = nwbfile.acquisition["small"]
    herd.add_ref(container=series, attribute="unit", key="V", entity_id="UO:218", entity_uri="https://a/volt")
    return nwbfile


def test_a_file_whose_herd_names_objects_by_ids_goes_on(path):
    """A new process makes the ids anew; those of the first are in the file, in the objects and in the tables."""
    begin(path, build=with_terms)
    write(path, with_terms())
    with NWBHDF5IO(path, "r") as io:
        nwbfile = io.read()
        (file_id,) = nwbfile.external_resources.files["file_object_id"]
        (object_id,) = nwbfile.external_resources.objects["object_id"]
        assert (file_id, object_id) == (nwbfile.object_id, nwbfile.acquisition["small"].object_id)


def test_another_way_of_reading_is_refused(path, monkeypatch):
    """An iterator that reads anywhere in one version of its library may only be read in order in another."""
    begin(path)
    with monkeypatch.context() as patch:
        patch.setattr(Slices, "_get_data", lambda self, selection: self.array[: selection[0].stop - selection[0].start])
        assert_refused(path, ResumeError, "how data can be read.*sequential", lambda: write(path, session()))
    write(path, session())


def test_a_version_that_cuts_contiguous_data_otherwise_is_refused(path, expected, monkeypatch):
    """Positions in the journal count its pieces."""
    begin(path)
    monkeypatch.setattr("failure.resuming.PIECE_BYTES", 4096)
    assert_refused(path, ResumeError, "version of parnwb", lambda: write(path, session()))
    monkeypatch.undo()
    write(path, session())
    expected.holds(path)


def test_parallel_hdf5_cannot_resume(path):
    begin(path)
    assert_refused(path, ResumeError, "mpio", lambda: write(path, session(), backend="mpio"))


# -- damage ----------------------------------------------------------------------------------------------------


def test_a_missing_partial_file_is_refused_and_one_may_begin_anew(path, expected):
    begin(path)
    partial_of(path).unlink()
    assert_refused(path, StorageError, "is missing", lambda: write(path, session()))
    write(path, session(), "w")
    expected.holds(path)


def test_a_truncated_partial_file_is_refused(path, expected):
    committed = begin(path)
    rows = committed.records
    os.truncate(partial_of(path), int((rows[:, 2] + rows[:, 3]).max()) - 1)
    assert_refused(path, StorageError, "shorter", lambda: write(path, session()))
    assert_refused(path, TargetError, "can be resumed", lambda: write(path, session(), "w"))
    write(path, session(), "w", overwrite=True)
    expected.holds(path)


@pytest.mark.parametrize("dataset", range(5))
def test_one_bit_of_a_committed_chunk_is_refused_and_named(path, expected, dataset):
    """Whatever the dataset's filters: nothing but the journal knows what an unfiltered chunk was."""
    committed = begin(path, expected.batches)
    assert {*committed.records[:, 0]} >= set(range(5))
    _, position, address, nbytes, _, _ = committed.records[committed.records[:, 0] == dataset][-1].tolist()
    spec = FileLayout.from_json(committed.description["layout"]).datasets[dataset]
    with small_pieces():
        slab = spec.grid.cell(unravel(position, spec.grid.extent))
    content = bytearray(partial_of(path).read_bytes())
    content[address + nbytes // 2] ^= 1
    partial_of(path).write_bytes(content)
    text = re.escape(f"1 of its committed chunks are not what was written, the first is {spec.path}[{slab.start[0]}:")
    assert_refused(path, ResumeError, text, lambda: write(path, session()))
    content[address + nbytes // 2] ^= 1
    partial_of(path).write_bytes(content)
    write(path, session())
    expected.holds(path)


def test_random_damage_of_the_partial_file_is_refused_or_does_not_matter(path, expected):
    """Of what is not committed yet anything may be there."""
    begin(path)
    before = contents(path)
    rng = random.Random(2)
    refused = 0
    for _ in range(20):
        damaged = bytearray(before[partial_of(path).name])
        for _ in range(rng.choice([1, 3])):
            at, length = rng.randrange(len(damaged)), rng.choice([1, 100, 5000])
            damaged[at : at + length] = rng.randbytes(len(damaged[at : at + length]))
        partial_of(path).write_bytes(damaged)
        journal_of(path).write_bytes(before[journal_of(path).name])
        try:
            write(path, session())
        except ResumeError as error:
            assert "the partial file is damaged" in str(error)
            refused += 1
        else:
            expected.holds(path)
            path.unlink()
    assert 0 < refused


def test_a_damaged_journal_is_refused_or_its_last_whole_commit_taken(path, expected):
    """Whatever is flipped or cut off, the file is right or nothing goes on."""
    begin(path)
    before = contents(path)
    rng = random.Random(1)
    size = len(before[journal_of(path).name])
    first = next(end for _, end in frames(journal_of(path)))
    refused = 0
    for number in range(15):
        damaged = bytearray(before[journal_of(path).name])
        for _ in range(rng.choice([1, 1, 3])):
            damaged[rng.randrange(first if number % 2 else 0, size)] ^= 1 << rng.randrange(8)
        journal_of(path).write_bytes(damaged[: rng.choice([size, size, rng.randrange(size)])])
        partial_of(path).write_bytes(before[partial_of(path).name])
        try:
            write(path, session())
        except (ResumeError, StorageError):
            refused += 1
        else:
            expected.holds(path)
            path.unlink()
    assert refused < 15


def test_a_record_of_a_chunk_that_is_not_in_the_layout(path):
    layout = FileLayout((DatasetSpec("/a", (10,), (10,), "<i2", (3,)), DatasetSpec("/b", (5,), (5,), "<i2", (3,))))

    def committed(*rows: tuple[int, int]) -> Committed:
        records = np.array([(*row, 0, 0, 0, 0) for row in rows], dtype=np.int64).reshape(-1, 6)
        return Committed({}, 0, records, (), False, 0, 1, 0)

    found = done_chunks(layout, committed((0, 3), (1, 0)))
    assert {number: bits.tolist() for number, bits in found.items()} == {0: [False] * 3 + [True], 1: [True, False]}
    assert done_chunks(layout, committed()) == {}
    for row in ((0, 4), (1, 2), (2, 0), (10**9, 10**9)):
        with pytest.raises(ResumeError, match="names"):
            done_chunks(layout, committed(row))


# -- nothing is lost by starting anew --------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["w", "w-", "x"])
def test_starting_anew_is_refused_where_work_would_be_lost(path, expected, mode):
    begin(path)
    assert_refused(path, TargetError, "can be resumed", lambda: write(path, session(), mode))
    write(path, session())
    expected.holds(path)


def test_starting_anew_with_overwrite(path, expected):
    begin(path, build=lambda: session(seed=5))
    write(path, session(), "w", overwrite=True)
    expected.holds(path)


def test_starting_anew_after_a_damaged_journal(path, expected):
    """There is nothing to be lost any more."""
    begin(path)
    journal_of(path).write_bytes(b"gone")
    write(path, session(), "w")
    expected.holds(path)


def test_a_new_partial_file_is_never_seen_beside_an_old_journal(path, monkeypatch):
    """Also with parallel HDF5, which keeps no journal: an old one would vouch for what is not there."""
    begin(path)
    order, real = [], os.unlink
    monkeypatch.setattr(os, "unlink", lambda name, **k: (order.append(Path(name).name), real(name, **k))[1])
    target = Target(path)
    target.create()
    assert order[:2] == [journal_of(path).name, partial_of(path).name]
    assert not journal_of(path).exists()


def test_a_job_that_fails_for_good_keeps_what_was_committed(path, expected):
    begin(path)
    before = replay(journal_of(path))
    with stopped_at(0), pytest.raises(Stop):
        write(path, session())
    assert_goes_on(before, committed_in(path))
    write(path, session())
    expected.holds(path)


# -- a file that is there already ------------------------------------------------------------------------------


def test_resume_where_a_file_exists_is_refused_before_the_work(path, expected):
    """Not after it, when it turns out that the name is taken."""
    path.write_bytes(b"precious")
    begin(path, mode="w", overwrite=True)
    assert path.read_bytes() == b"precious"
    with stopped_at(0):
        assert_refused(path, TargetError, "exists", lambda: write(path, session()))
    write(path, session(), overwrite=True)
    expected.holds(path)


def test_a_file_that_appears_meanwhile_is_not_replaced(path, expected):
    begin(path)
    with small_pieces(), NWBParallelIO(path, "resume", **SETTINGS) as io:
        io.write(session())
        path.write_bytes(b"precious")
        with pytest.raises(TargetError, match="appeared"):
            io.close()
    assert path.read_bytes() == b"precious"
    assert committed_in(path).complete
    path.unlink()
    write(path, session())
    expected.holds(path)


def test_another_file_beside_a_complete_journal_is_not_taken_for_it(path):
    """The journal of a complete file, whose partial file somebody has removed, beside an older file."""
    begin(path, mode="w")
    committed = replay(journal_of(path))
    journal = Journal.reopen(journal_of(path), committed)
    journal.append(Frame({}, committed.end, no_records(), (), complete=True))
    journal.close()
    partial_of(path).unlink()
    path.write_bytes(b"older")
    with pytest.raises(ParnwbError):
        write(path, session())
    assert path.read_bytes() == b"older"


# -- room --------------------------------------------------------------------------------------------------------


COMPRESSIONS: list[dict[str, Any]] = [{"compression": "auto"}, {"compression": "gzip"}, {"compression": 1}]


def wandering(*, silent: bool) -> NWBFile:
    """Return a session whose data take 4 MB in the file; the first part of them may be silent."""
    data = np.concatenate([np.cumsum(noise((400_000, 4), seed=3), axis=0).astype("i2")] * 2)
    if silent:
        data[: len(data) // 8] = 0
    return one(H5DataIO(data, chunks=(50_000, 4)))


@pytest.fixture
def small_disk():
    with mounted(f"size={SMALL_BYTES}") as folder:
        if folder is None:
            pytest.skip("mounting a file system is refused here; it needs root")
        yield folder


@pytest.mark.parametrize("settings", COMPRESSIONS)
def test_a_disk_that_will_be_too_small_is_warned_of_before_the_work(small_disk, tmp_path, settings):
    """By an estimate that is near what the file takes: there might be more silence than the sample has."""
    said = pytest.warns(UserWarning, match="the file will need about")
    with said as warned, stopped_at(0), pytest.raises(Stop):
        write(small_disk / "out.nwb", wandering(silent=True), "w", **settings)
    assert os.listdir(small_disk) == []
    text = next(str(item.message) for item in warned if "need about" in str(item.message))
    estimate = int(text.split("about ")[1].split()[0])
    size = write(tmp_path / "out.nwb", wandering(silent=True), "w", **settings).path.stat().st_size
    assert 0.8 * size < estimate < 1.05 * size


@pytest.mark.parametrize("settings", COMPRESSIONS)
def test_a_disk_that_cannot_hold_the_smallest_file_is_refused(small_disk, settings):
    """Nothing in the sample is so small that the file could fit."""
    with pytest.raises(StorageError, match=r"needs at least \d+ bytes, the file system has \d+ free"):
        write(small_disk / "out.nwb", wandering(silent=False), "w", **settings)
    assert os.listdir(small_disk) == []


def test_resuming_asks_for_what_is_missing_only(small_disk):
    """Most of the file is there, and takes the room that the whole would need."""
    path = small_disk / "out.nwb"
    data = H5DataIO(noise((200_000, 8), seed=3), chunks=(2000, 8), compression="gzip", compression_opts=1)
    begin(path, 120, build=lambda: one(data))
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    assert free < partial_of(path).stat().st_size
    write(path, one(data))
    assert free > 0 and os.listdir(small_disk) == ["out.nwb"]

"""Streams of jobs that end at any moment, and calls that ranks do not make alike."""

from __future__ import annotations

import json
import os
import signal
import sys
import textwrap
import warnings
from pathlib import Path
from typing import Any
from unittest.mock import patch

import h5py
import numpy as np
import pytest
from contract.cases import START
from contract.compare import Allowed, differences, snapshot
from hdmf.data_utils import DataChunkIterator
from mpi_launch import run_mpi
from pynwb import NWBHDF5IO, H5DataIO, NWBFile, TimeSeries

from parnwb import NWBParallelIO, Stream
from parnwb.target import FileBytes
from parnwb.verification import verify

pytestmark = [pytest.mark.mpi_skip, pytest.mark.filterwarnings("ignore::UserWarning")]

STEPS, EVERY = 40, 7
KILLED = 77


def step(number: int) -> np.ndarray[Any, Any]:
    """Return the rows of one step of a simulation: as many as its number has ones."""
    rows = number.bit_count() if hasattr(number, "bit_count") else bin(number).count("1")
    return (np.arange(rows * 5).reshape(rows, 5) * number % 101).astype("i2")


def frames(count: int) -> Any:
    return (np.full(6, number, "i2") for number in range(count))


def session(*, expected: bool = False) -> tuple[NWBFile, Stream | None, Stream | None]:
    """Return a file with a stream of several rows a step, one of a row a step, and a generator."""
    file = NWBFile("streams that are resumed", "streaming", START)
    many: Any = np.concatenate([step(number) for number in range(STEPS)]) if expected else Stream("i2", (5,))
    one: Any = np.arange(STEPS) / 10 if expected else Stream("f8")
    settings = {"maxshape": (None,)} if expected else {}
    rows = {"maxshape": (None, 5)} if expected else {}
    data = H5DataIO(many, chunks=(9, 5), compression="gzip", **rows)
    file.add_acquisition(TimeSeries(name="many", data=data, unit="V", rate=1.0))
    file.add_acquisition(TimeSeries(name="one", data=H5DataIO(one, chunks=(4,), **settings), unit="s", rate=1.0))
    film = H5DataIO(DataChunkIterator(frames(50), buffer_size=5), chunks=(8, 6), compression="gzip")
    file.add_acquisition(TimeSeries(name="film", data=film, unit="V", rate=1.0))
    return (file, None, None) if expected else (file, many, one)


def append_apart(io: NWBParallelIO, blocks: dict[Stream, Any]) -> None:
    """Append to one stream after the other: a commit may come between them."""
    for stream, block in blocks.items():
        io.append(stream, block)


def simulate(path: Path, comm: Any = None, stop: int = STEPS, append: Any = append_apart, **settings: Any) -> list[int]:
    """Go on with the simulation where the file has it; return the rows with which it began."""
    given = {"buffer_mb": 0.0004, "progress": False, "commit_interval": 1e9, **settings}
    rank, size = (comm.rank, comm.size) if comm is not None else (0, 1)
    with NWBParallelIO(path, "resume", comm=comm, **given) as io:
        file, many, one = session()
        io.write(file)
        begun = [many.rows, one.rows]
        for number in range(one.rows, STEPS):
            kept = max(0, begun[0] - sum(len(step(n)) for n in range(number)))  # of the step whose second half is lost
            mine = np.array_split(step(number)[kept:], size)[rank]
            append(io, {many: mine, one: np.array([number / 10])[: int(rank == number % size)]})
            if number % EVERY == 0:
                io.commit()
            if number == stop:
                os.kill(os.getpid(), 9)
    return begun


def plainly(path: Path) -> Path:
    with NWBHDF5IO(path, "w") as io:
        io.write(session(expected=True)[0])
    return path


def unlike(expected: Path, path: Path) -> list[str]:
    """Return where two files differ in what does not change from one process to the next."""
    lines = differences(snapshot(expected), snapshot(path), Allowed(size_ratio=1.2))
    return [line for line in lines if not any(name in line for name in ("object_id", "file_create_date"))]


def forked(path: Path, writes: int, **settings: Any) -> int:
    """Let a child simulate until its n-th write to any file, and return its status."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            left = writes
            real = FileBytes.write_at

            def write_at(self: FileBytes, *arguments: Any) -> None:
                nonlocal left
                left -= 1
                if left == 0:
                    os._exit(KILLED)
                real(self, *arguments)

            with patch.object(FileBytes, "write_at", write_at):
                simulate(path, **settings)
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


WAYS = {
    "commits of its own": (1e9, append_apart),
    "commits at any time": (0.002, append_apart),
    "commits at any time of both together": (0.002, NWBParallelIO.append_together),
}


@pytest.mark.parametrize(("interval", "append"), WAYS.values(), ids=WAYS)
def test_killed_before_any_write_and_resumed(tmp_path: Path, interval: float, append: Any) -> None:
    """Twice in a row, so that what was resumed is resumed again."""
    expected, whole = plainly(tmp_path / "pynwb.nwb"), tmp_path / "whole.nwb"
    simulate(whole)
    ends, began = [], set()
    for number, writes in enumerate(range(2, 60, 4) if interval > 1 else range(5, 120, 9)):
        path = tmp_path / f"{number}.nwb"
        ends.append(forked(path, writes, commit_interval=interval, append=append))
        if ends[-1] == KILLED:
            forked(path, 4 + number % 5, commit_interval=interval, append=append)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not path.exists():
                many, one = simulate(path, manifest=True)
                began.add(one)
                if interval > 1 or append is not append_apart:
                    assert many == sum(len(step(n)) for n in range(one))
                if interval > 1:
                    assert one == 0 or one % EVERY == 1 or one == STEPS
        different = unlike(expected, path)
        assert not different, "\n".join(different)
        assert path.stat().st_size <= whole.stat().st_size * 1.01, "space that nothing refers to"
        assert not verify(path).findings
    assert ends[0] == KILLED and set(ends) <= {0, KILLED}
    assert len(began) > 3, began


def test_a_signal_commits_what_was_appended(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path, real = tmp_path / "out.nwb", NWBParallelIO.append

    def append(self: NWBParallelIO, stream: Any, block: Any) -> None:
        if stream.rows == 20 and len(stream.row_shape) == 0:
            os.kill(os.getpid(), signal.SIGUSR1)
        real(self, stream, block)

    with patch.object(NWBParallelIO, "append", append), pytest.raises(SystemExit) as ended:
        simulate(path)
    assert ended.value.code == 75 and "go on after stream.rows" in capfd.readouterr().err
    assert simulate(path)[1] == 21
    different = unlike(plainly(tmp_path / "pynwb.nwb"), path)
    assert not different, "\n".join(different)


def test_a_signal_leaves_a_file_that_is_appended_to_as_it_was(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = plainly(tmp_path / "old.nwb")
    before, stream = path.read_bytes(), Stream("i2", (3,))
    with pytest.raises(SystemExit) as ended, NWBParallelIO(path, "a", progress=False) as io:
        file = io.read()
        file.add_acquisition(TimeSeries(name="new", data=stream, unit="V", rate=1.0))
        io.write(file)
        os.kill(os.getpid(), signal.SIGUSR1)
        io.append(stream, np.zeros((2, 3), "i2"))
    assert ended.value.code == 75 and "The file is as it was" in capfd.readouterr().err
    assert path.read_bytes() == before


PROGRAM = """
    import json, sys, warnings
    sys.path.insert(0, sys.argv[2])
    warnings.simplefilter("ignore")
    from pathlib import Path
    from mpi4py import MPI
    from failure.test_streaming import simulate
    comm = MPI.COMM_WORLD
    stop = int(sys.argv[3])
    begun = simulate(Path(sys.argv[1]), comm, stop if comm.rank == comm.size - 1 else 10**9)
    if comm.rank == 0:
        print(json.dumps(begun))
"""


def test_killed_in_the_midst_and_resumed_by_other_numbers_of_ranks(tmp_path: Path) -> None:
    program, path = tmp_path / "program.py", tmp_path / "out.nwb"
    program.write_text(textwrap.dedent(PROGRAM))
    arguments = [sys.executable, program, path, str(Path(__file__).parents[1])]
    for ranks, stop, begun in ((3, 18, 0), (1, 25, 15), (4, 10**9, 22)):
        done = run_mpi(ranks, [*arguments, str(stop)], timeout=100)
        if stop < STEPS:
            assert done.returncode != 0 and not path.exists()
            with h5py.File(f"{path}.partial") as file:  # others read what the last commit has of it
                assert file["/acquisition/one/data"].shape[0] == (stop // EVERY * EVERY + 1) // 4 * 4
                assert np.array_equal(file["/acquisition/one/data"][:] * 10, range(len(file["/acquisition/one/data"])))
        else:
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)[1] == begun
    different = unlike(plainly(tmp_path / "pynwb.nwb"), path)
    assert not different, "\n".join(different)


CALLS = """
    import sys, warnings
    sys.path.insert(0, sys.argv[2])
    warnings.simplefilter("ignore")
    from pathlib import Path
    import numpy as np
    from hdmf.data_utils import DataChunkIterator
    from mpi4py import MPI
    from pynwb import NWBFile, TimeSeries
    from contract.cases import START
    from parnwb import NWBParallelIO, Stream
    comm = MPI.COMM_WORLD
    rank = comm.rank
    backend = sys.argv[3]

    def failing():
        yield from np.ones((5, 3))
        raise ValueError("the camera is gone")

    def attempt(name, act, data=None, row_shape=(3,)):
        path = Path(sys.argv[1]) / f"{name}.nwb"
        file, stream, other = NWBFile("a", "b", START), Stream("i2", row_shape), Stream("f8")
        file.add_acquisition(TimeSeries(name="s", data=stream, unit="V", timestamps=other))
        if data is not None:
            file.add_acquisition(TimeSeries(name="g", data=data, unit="V", rate=1.0))
        try:
            with NWBParallelIO(path, comm=comm, backend=backend, progress=False) as io:
                io.write(file)
                io.append(stream, np.ones((rank, 3), "i2"))
                act(io, stream, other)
            said = "nothing"
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
        all_said = comm.gather(said)
        if rank == 0:
            left = sorted(item.name for item in Path(sys.argv[1]).iterdir())
            print(name, len(set(all_said)), len(left), all_said[0].replace(chr(10), " "), flush=True)

    three = np.ones((2, 3), "i2")
    attempt("shape", lambda io, s, t: io.append(s, three if rank != 1 else np.ones((2, 4), "i2")))
    attempt("dtype", lambda io, s, t: io.append(s, three if rank != 1 else three.astype("f8")))
    attempt("streams", lambda io, s, t: io.append(s, three) if rank != 1 else io.append(t, [1.0]))
    both = lambda s, t: {s: three, t: [1.0]} if rank != 1 else {t: [1.0], s: three}
    attempt("together", lambda io, s, t: io.append_together(both(s, t)))
    attempt("twice", lambda io, s, t: io.append_together({s: three, "/acquisition/s/data": three}))
    attempt("foreign", lambda io, s, t: io.append(Stream("i2", (3,)), three))
    attempt("missing", lambda io, s, t: io.append(s, three) if rank != 1 else io.commit())
    attempt("left", lambda io, s, t: io.append(s, three) if rank != 1 else None)
    attempt("raised", lambda io, s, t: io.append(s, three) if rank != 1 else 1 / 0)
    attempt("row_shape", lambda io, s, t: None, row_shape=(3 + rank,))
    attempt("generator", lambda io, s, t: None, DataChunkIterator(failing() if rank == 0 else iter(np.ones((9, 3)))))
    attempt("closed", lambda io, s, t: (io.close(), io.append(s, three)))
"""

SAID = {
    "shape": "a block must have the shape (rows, 3), got (2, 4)",
    "dtype": "a block must have the stream's dtype int16, got float64",
    "streams": "rank 0 appends to /acquisition/s/data, rank 1 to /acquisition/s/timestamps",
    "together": "rank 0 appends to /acquisition/s/data, /acquisition/s/timestamps, rank 1 to /acquisition/s/times",
    "twice": "one block for each stream",
    "foreign": "is no stream of this file; it has /acquisition/s/data",
    "missing": "all ranks must make the same collective calls: rank 0 is in 'append', rank 1 in 'commit'",
    "left": "all ranks must make the same collective calls: rank 0 is in 'append', rank 1 in 'close'",
    "raised": "division by zero",
    "row_shape": "rank 0 has dataset of shape (None, 3)",
    "generator": "the generator of a dataset failed",
    "closed": "this NWBParallelIO is closed",
}


@pytest.mark.parametrize("ranks", [3])
def test_calls_that_ranks_do_not_make_alike_are_one_error(tmp_path: Path, ranks: int) -> None:
    from parnwb.site import parallel_hdf5

    program = tmp_path / "calls.py"
    program.write_text(textwrap.dedent(CALLS))
    for backend in ("direct", "mpio") if parallel_hdf5() else ("direct",):
        folder = tmp_path / backend
        folder.mkdir()
        done = run_mpi(ranks, [sys.executable, program, folder, str(Path(__file__).parents[1]), backend], timeout=120)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        lines = [line.split(" ", 3) for line in done.stdout.splitlines()]
        assert [line[0] for line in lines] == list(SAID)
        for name, different, left, said in lines:
            assert SAID[name] in said, (name, said)
            assert different == "1", (name, said)
            assert int(left) == (1 if name == "closed" else 0), (name, said, left)


TABLE = """
    import sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[2])
    import h5py
    import numpy as np
    from hdmf.common import DynamicTable, ElementIdentifiers
    from mpi4py import MPI
    from pynwb import NWBHDF5IO, NWBFile
    from contract.cases import START
    from parnwb import DistributedRagged, NWBParallelIO, ParnwbError, Stream
    comm = MPI.COMM_WORLD
    ROWS = comm.rank + 1
    TOTAL = comm.size * (comm.size + 1) // 2

    def attempt(name, rows):
        path = Path(sys.argv[1]) / f"{name}.nwb"
        ids = Stream("i8", chunks=(1000,))
        ragged = DistributedRagged([np.full(n + 1, comm.rank, "f8") for n in range(ROWS)], comm=comm)
        table = DynamicTable(
            name="t", description="t", id=ElementIdentifiers(name="id", data=ids), columns=ragged.columns("a", "a")
        )
        file = NWBFile("a", "b", START)
        file.add_scratch(table)
        try:
            with NWBParallelIO(path, comm=comm, backend=sys.argv[3], progress=False) as io:
                io.write(file)
                io.append(ids, np.arange(rows))
        except ParnwbError as error:
            return path, str(error)
        return path, "nothing"

    path, said = attempt("even", ROWS)
    assert said == "nothing", said
    if comm.rank == 0:
        with NWBHDF5IO(path, "r") as io:
            found = [len(row) for row in io.read().get_scratch("t")["a"][:]]
        assert found == [n + 1 for rank in range(comm.size) for n in range(rank + 1)], found
    path, said = attempt("uneven", ROWS + 1)
    assert f"row for each id, got {{'id': {TOTAL + comm.size}, 'a': {TOTAL}}}" in said, said
    if comm.rank == 0 and sys.argv[3] == "mpio":
        assert f"All rows are in {path}.partial" in said, said
        with h5py.File(f"{path}.partial") as left:
            assert left["scratch/t/id"].shape == (TOTAL + comm.size,)
    elif comm.rank == 0:
        assert "mode 'resume'" in said, said
"""


def test_a_table_of_streams_and_of_data_of_ranks(tmp_path: Path) -> None:
    """The root cannot read the last value of an index that is spread over ranks, and need not."""
    from parnwb.site import parallel_hdf5

    program = tmp_path / "table.py"
    program.write_text(textwrap.dedent(TABLE))
    for backend in ("direct", "mpio") if parallel_hdf5() else ("direct",):
        folder = tmp_path / backend
        folder.mkdir()
        done = run_mpi(3, [sys.executable, program, folder, str(Path(__file__).parents[1]), backend], timeout=120)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]

"""What limits leave, and that only what cannot succeed is refused. Real limits, where one can set them without root."""

from __future__ import annotations

import ctypes
import mmap
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from parnwb.errors import PlanError
from parnwb.machine.memory import SLACK, Claim, MiB, Room, check_fits, rooms

HOST = Room("the memory", ("host", "boot"), 1000 * MiB)


def limit(free: int, *owner: str | int) -> Room:
    return Room("RLIMIT_AS", ("host", "boot", *owner), free * MiB)


# -- who shares what -----------------------------------------------------------------------------------------


def test_what_fits_together_is_allowed() -> None:
    check_fits([Claim(250 * MiB, (HOST,))] * 4)
    check_fits([Claim(250 * MiB, (HOST, limit(250, rank))) for rank in range(4)])


def test_the_slack_is_each_ranks() -> None:
    check_fits([Claim(250 * MiB + SLACK, (HOST,))] * 4)
    with pytest.raises(PlanError):
        check_fits([Claim(250 * MiB + SLACK + 1, (HOST,))] * 4)


def test_ranks_of_one_host_are_counted_together() -> None:
    with pytest.raises(PlanError, match="4 of them need at least 1600 MiB, the memory leaves 1000 MiB") as caught:
        check_fits([Claim(400 * MiB, (HOST,))] * 4)
    assert caught.value.where == "host" and "smaller buffer_mb" in str(caught.value)
    elsewhere = Room("the memory", ("other", "boot"), 1000 * MiB)
    check_fits([Claim(400 * MiB, (HOST,))] * 2 + [Claim(400 * MiB, (elsewhere,))] * 2)


def test_a_processs_own_limit_is_its_own() -> None:
    claims = [Claim(100 * MiB, (HOST, limit(150 if rank else 10, rank))) for rank in range(3)]
    with pytest.raises(PlanError, match="1 of them need at least 100 MiB, RLIMIT_AS leaves 10 MiB"):
        check_fits(claims)
    check_fits(claims[1:])


def test_who_needs_nothing_is_never_refused() -> None:
    check_fits([Claim(0, (HOST, limit(-500, 1)))])
    check_fits([])


def test_of_two_measurements_the_larger_one_counts() -> None:
    check_fits([Claim(400 * MiB, (Room("the memory", HOST.owner, free * MiB),)) for free in (10, 800)])


# -- reading what the kernel says ----------------------------------------------------------------------------


@pytest.fixture
def process(tmp_path: Path) -> Path:
    """Return a made /proc/self: 3 GB free and 1 GB of swap, in a cgroup of each version."""
    folder = tmp_path / "proc" / "self"
    folder.mkdir(parents=True)
    (folder.parent / "meminfo").write_text("MemTotal: 8000000 kB\nMemAvailable: 3000000 kB\nSwapFree: 1000000 kB\n")
    (folder / "cgroup").write_text("9:name=systemd:/\n4:cpu,memory:/job/step\n0::/user/app\n")
    mounts = (
        "31 23 0:28 / /proc rw - proc proc rw",
        f"41 31 0:38 / {tmp_path}/v2 rw,relatime - cgroup2 cgroup2 rw",
        f"35 31 0:32 /job {tmp_path}/v1 rw,relatime shared:7 - cgroup cgroup rw,memory",
        f"36 31 0:33 / {tmp_path}/cpu rw,relatime - cgroup cgroup rw,cpu",
    )
    (folder / "mountinfo").write_text("\n".join(mounts))
    v2 = {"memory.max": "500000", "memory.current": "400000", "memory.stat": "anon 1\ninactive_file 50000\n"}
    files(tmp_path / "v2/user/app", v2 | {"memory.max": "max"})
    files(tmp_path / "v2/user", v2)
    files(tmp_path / "v2/other", {"memory.max": "1", "memory.current": "1"})
    v1 = {"memory.limit_in_bytes": "9000", "memory.usage_in_bytes": "8000", "memory.use_hierarchy": "1"}
    files(tmp_path / "v1/step", v1 | {"memory.stat": "inactive_file 7\ntotal_active_file 20\ntotal_inactive_file 3"})
    files(tmp_path / "v1", v1 | {"memory.limit_in_bytes": "10000", "memory.kmem.usage_in_bytes": "500"})
    return folder


def files(folder: Path, content: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in content.items():
        (folder / name).write_text(f"{text}\n")


SWAP = 1_000_000 * 1024


def test_every_limit_is_read(process: Path, tmp_path: Path) -> None:
    found = {room.rule: room.free for room in rooms(process) if "RLIMIT" not in room.rule}
    assert found == {
        "the memory of this host (MemAvailable)": 3_000_000 * 1024 + SWAP,
        f"the cgroup limit ({tmp_path}/v2/user/memory.max)": 150_000 + SWAP,
        f"the cgroup limit ({tmp_path}/v1/step/memory.limit_in_bytes)": 1023 + SWAP,
        f"the cgroup limit ({tmp_path}/v1/memory.limit_in_bytes)": 2500 + SWAP,
    }
    assert len({room.owner for room in rooms(process)}) == len(rooms(process))


def test_a_limit_that_does_not_hold_below_is_left_out(process: Path, tmp_path: Path) -> None:
    files(tmp_path / "v1", {"memory.use_hierarchy": "0"})
    files(tmp_path / "v1/step", {"memory.use_hierarchy": "0"})
    rules = [room.rule for room in rooms(process) if "v1" in room.rule]
    assert rules == [f"the cgroup limit ({tmp_path}/v1/step/memory.limit_in_bytes)"]


def test_a_cgroup_whose_path_is_not_to_be_seen_is_the_one_that_is_mounted(process: Path, tmp_path: Path) -> None:
    (process / "cgroup").write_text("4:memory:/docker/abc\n0::/../..\n")
    files(tmp_path / "v2", {"memory.max": "70", "memory.current": "30"})
    free = [room.free - SWAP for room in rooms(process) if "cgroup" in room.rule]
    assert free == [40, 2500]


def test_nothing_is_known_without_proc(tmp_path: Path) -> None:
    assert rooms(tmp_path / "nowhere") == ()


def test_this_machine_is_known() -> None:
    assert any("MemAvailable" in room.rule and room.free > 0 for room in rooms())


# -- real limits ---------------------------------------------------------------------------------------------

PROGRAM = """
import resource, sys, warnings
from datetime import datetime, timezone
from pathlib import Path
import numpy as np
from pynwb import H5DataIO, NWBFile, TimeSeries
from parnwb import NWBParallelIO
from parnwb.machine import memory
from parnwb.errors import ParnwbError

warnings.simplefilter("ignore")
name, kind, check, buffer_mb = sys.argv[1:]
data = np.memmap("large.bin", "i1", "r")
data = np.asarray(data[::1]).copy() if kind == "array" else data
nwbfile = NWBFile("memory", "memory", datetime(2026, 1, 1, tzinfo=timezone.utc))
data = H5DataIO(data, chunks=(2**20,), compression="gzip", compression_opts=1)
nwbfile.add_acquisition(TimeSeries(name="x", data=data, unit="V", rate=1.0))
if check == "unchecked":
    memory.check_fits = lambda claims: None
status = memory._table(Path("/proc/self/status"))
used = status["VmSize" if name == "RLIMIT_AS" else "VmData"]
resource.setrlimit(getattr(resource, name), (used + 300 * 2**20, resource.RLIM_INFINITY))
try:
    with NWBParallelIO("out.nwb", "w", buffer_mb=float(buffer_mb), progress=False) as io:
        io.write(nwbfile)
except (ParnwbError, MemoryError) as error:
    print(type(error).__name__, error)
print(*sorted(path.name for path in Path().iterdir()))
"""


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Return a folder with a sparse file of 700 MiB."""
    with open(tmp_path / "large.bin", "wb") as file:
        file.truncate(700 * MiB)
    return tmp_path


def attempt(folder: Path, *arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_what_a_limit_forbids_is_refused_before_the_first_byte(large: Path, name: str) -> None:
    said, left = attempt(large, name, "mapped", "checked", "700")
    assert said.startswith("PlanError what ranks read at once must fit into memory: 1 of them need at least 700 MiB")
    assert name in said and "buffer_mb" in said
    assert left == "large.bin"


@pytest.mark.parametrize("name", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_it_would_not_have_worked(large: Path, name: str) -> None:
    said, _ = attempt(large, name, "mapped", "unchecked", "700")
    assert "MemoryError" in said


@pytest.mark.parametrize("name", ["RLIMIT_AS", "RLIMIT_DATA"])
@pytest.mark.parametrize(("kind", "buffer_mb"), [("mapped", "16"), ("array", "16")])
def test_what_works_is_not_refused(large: Path, name: str, kind: str, buffer_mb: str) -> None:
    """Smaller buffers, of files and of arrays that are in memory already."""
    assert attempt(large, name, kind, "checked", buffer_mb) == ["large.bin out.nwb"]


def test_limits_of_this_process_are_read() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    size = 2**40
    resource.setrlimit(resource.RLIMIT_DATA, (size, hard))
    try:
        (room,) = [room for room in rooms() if "RLIMIT_DATA (ulimit -d)" in room.rule]
        # From the system itself: an array could be made of what malloc has kept from earlier tests.
        with mmap.mmap(-1, 200 * MiB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held:
            (after,) = [room for room in rooms() if "RLIMIT_DATA" in room.rule]
            assert 0 < room.free < size and room.free - after.free >= len(held)
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


FREED = """
import ctypes
from pathlib import Path
from parnwb.machine.memory import give_back

def held():
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["RssAnon"].split()[0])

blocks = [bytearray(100_000) for _ in range(300)]  # small enough that malloc cuts them from what it has
for block in blocks:
    block[::4096] = b"x" * len(block[::4096])
del block, blocks[:-1]  # malloc gives back by itself only what is behind the last one
before = held()
give_back()
print(before - held())
"""


def test_freed_memory_is_given_back() -> None:
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("this C library has no malloc_trim")
    done = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout) * 1024 > 20 * MiB

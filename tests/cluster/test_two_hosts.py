"""Ranks on two hosts: the right file, and what goes wrong on one host is told once, before anything is written."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import h5py
import numpy as np
import pytest
from cluster.account import METADATA
from cluster.hosts import Hosts
from contract.compare import Allowed, differences
from failure.resuming import SETTINGS, comparable, session, write_plainly

from parnwb import NWBParallelIO
from parnwb.recordings.made_recording import make_spikeglx_recording
from parnwb.repacking import merge
from parnwb.site import parallel_hdf5

pytestmark = pytest.mark.mpi_skip
ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("two_hosts_program.py")
BACKENDS = ("direct", "mpio") if parallel_hdf5() else ("direct",)
SECONDS = 120


def run(
    hosts: Hosts, output: Path, backend: str = "direct", trouble: str = "none", *more: str
) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, PROGRAM, output, backend, trouble, *more]
    return hosts.run_mpi(2, argv, timeout=SECONDS, PYTHONPATH=str(ROOT))


def assert_is_plain(path: Path, *, parts: bool = False) -> None:
    """Check that a file is what pynwb writes; perhaps with its parts beside it."""
    plain = write_plainly(path.with_name("plain.nwb"), session())
    allowed = Allowed(size_ratio=2.0, fill_and_allocation_time=True, early_allocation=True, parts=parts)
    assert not differences(comparable(plain), comparable(path), allowed)
    names = [path.name, *([f"{path.name}.parts"] if parts else [])]
    assert sorted(item.name for item in path.parent.glob(f"{path.name}*")) == names


def assert_verified(hosts: Hosts, path: Path) -> None:
    """Check that all hosts together find nothing wrong."""
    argv = [sys.executable, "-m", "parnwb", "verify", str(path)]
    done = hosts.run_mpi(1, argv, timeout=SECONDS, PYTHONPATH=str(ROOT))
    assert done.returncode == 0 and "GOOD" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_file_is_the_one_that_pynwb_writes(two_hosts: Hosts, tmp_path: Path, backend: str) -> None:
    done = run(two_hosts, tmp_path / "out.nwb", backend)
    assert done.returncode == 0, done.stderr
    assert_is_plain(tmp_path / "out.nwb")


def test_a_host_without_the_folder_is_named(two_hosts: Hosts, tmp_path: Path) -> None:
    with two_hosts.nodes[1].without(tmp_path):
        done = run(two_hosts, tmp_path / "out.nwb")
    assert done.returncode != 0
    assert "every host must see the folder in which the root writes" in done.stderr, done.stderr
    assert "on host node2" in done.stderr and "Write to a folder that all hosts share" in done.stderr
    assert done.stderr.count("every host must see") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["parnwb", "HDF5"])
def test_a_host_with_another_version_is_named(two_hosts: Hosts, tmp_path: Path, what: str) -> None:
    done = run(two_hosts, tmp_path / "out.nwb", trouble=what)
    assert done.returncode != 0
    assert f"the version of {what} must be the same on all ranks" in done.stderr, done.stderr
    assert "rank 2 on node2 has '0.0.9'" in done.stderr
    assert done.stderr.count("must be the same on all ranks") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_host_with_another_h5py_is_named_by_ranks_that_do_not_import_it(two_hosts: Hosts, tmp_path: Path) -> None:
    """As it was installed there: the command line, of which only the root asks HDF5."""
    recording, other = make_spikeglx_recording(tmp_path / "recording", megabytes=1), tmp_path / "of-node2"
    (other / "h5py-0.0.9.dist-info").mkdir(parents=True)
    (other / "h5py-0.0.9.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: h5py\nVersion: 0.0.9\n")
    output = tmp_path / "out" / "out.nwb"
    output.parent.mkdir()
    (tmp_path / "metadata.yaml").write_text(METADATA)
    convert = f"{sys.executable} -m parnwb convert {recording} {output} --metadata {tmp_path}/metadata.yaml"
    here = f"test $(hostname) = node2 && export PYTHONPATH={other}:$PYTHONPATH"
    argv = ["sh", "-c", f"{here}; exec {convert}"]
    done = two_hosts.run_mpi(2, argv, timeout=SECONDS, PYTHONPATH=str(ROOT))
    assert done.returncode != 0
    assert "the version of h5py must be the same on all ranks" in done.stderr, done.stderr
    assert "rank 2 on node2 has '0.0.9'" in done.stderr and "see parnwb doctor" in done.stderr
    assert done.stderr.count("must be the same on all ranks") == 1
    assert list(output.parent.iterdir()) == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_link_that_is_down_for_a_while_delays_only(two_hosts: Hosts, tmp_path: Path, backend: str) -> None:
    output, (other, node) = tmp_path / "out.nwb", two_hosts.nodes
    assert node.reaches(other)
    with ThreadPoolExecutor(1) as executor:
        running = executor.submit(run, two_hosts, output, backend, "link")
        while not (tmp_path / "begun").exists() and not running.done():
            time.sleep(0.05)
        node.set_link("down")
        try:
            time.sleep(3)
            is_reached, has_ended = node.reaches(other), running.done()
        finally:
            node.set_link("up")
        done = running.result()
    assert done.returncode == 0, done.stderr
    assert (is_reached, has_ended) == (False, False), "ranks were to run while the link was down"
    assert node.reaches(other)
    assert_is_plain(output)


def test_doctor_reports_once_and_names_the_host_without_the_folder(two_hosts: Hosts, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "parnwb", "doctor", str(tmp_path)]
    with two_hosts.nodes[1].without(tmp_path), two_hosts.called("clone"):
        done = two_hosts.run_mpi(1, argv, timeout=SECONDS, PYTHONPATH=str(ROOT))
    assert done.returncode != 0
    assert done.stdout.count("MPI         ") == 1, done.stdout
    assert "2 on 2 host(s): clone#1 (1), clone#2 (1)" in done.stdout
    assert f"wrong: {tmp_path} on clone#2: it does not see what is written there" in done.stdout
    assert list(tmp_path.iterdir()) == []


# -- who writes ----------------------------------------------------------------------------------------------


def test_one_writer_on_each_host_leaves_the_same_file(two_hosts: Hosts, tmp_path: Path) -> None:
    done = run(two_hosts, tmp_path / "out.nwb", "direct", "none", "writers_per_node=1")
    assert done.returncode == 0, done.stderr
    assert "1 rank(s) of each host write for the others" in done.stdout
    assert_is_plain(tmp_path / "out.nwb")


@pytest.fixture(scope="module")
def cached(two_hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give a folder that each host sees through a client with a cache of its own."""
    if shutil.which("bindfs") is None or not Path("/dev/fuse").exists():
        pytest.skip("clients that cache need bindfs (tests/environments/cluster.sh) and /dev/fuse")
    folder = tmp_path_factory.mktemp("cached")
    disk, mount = folder / "disk", folder / "mount"
    disk.mkdir()
    mount.mkdir()
    with two_hosts.cached(disk, mount):
        yield mount


def test_clients_do_not_see_what_others_write_later(two_hosts: Hosts, cached: Path) -> None:
    """So what comes next is of use."""
    one, other = two_hosts.nodes
    one.run("sh", "-c", f"printf old > {cached}/note")
    assert other.run("cat", cached / "note") == "old"
    one.run("sh", "-c", f"printf new > {cached}/note")
    assert other.run("cat", cached / "note") == "old"


@pytest.mark.parametrize(
    ("per_node", "words"),
    [("1", "1 rank(s) of each host write for the others"), ("0", "the root writes for all ranks, as asked for")],
)
def test_writers_of_hosts_that_cache_leave_the_same_file(
    two_hosts: Hosts, cached: Path, per_node: str, words: str
) -> None:
    name = f"out{per_node}.nwb"
    done = run(two_hosts, cached / name, "direct", "none", f"writers_per_node={per_node}")
    assert done.returncode == 0, done.stderr
    assert words in done.stdout
    assert_is_plain(cached.with_name("disk") / name)
    assert_verified(two_hosts, cached / name)


def test_clients_that_cache_pages_damage_what_all_ranks_write(two_hosts: Hosts, tmp_path: Path) -> None:
    """So the next test could fail."""
    done = run(two_hosts, tmp_path / "out.nwb", "direct", "caches")
    assert done.returncode == 0, done.stderr
    with pytest.raises((AssertionError, OSError)):
        assert_is_plain(tmp_path / "out.nwb")


def test_on_nfs_the_root_writes_for_all_hosts(two_hosts: Hosts, tmp_path: Path) -> None:
    done = run(two_hosts, tmp_path / "out.nwb", "direct", "nfs")
    assert done.returncode == 0, done.stderr
    assert "the root writes for all ranks, because 2 hosts cannot write one file on nfs4" in done.stdout
    assert_is_plain(tmp_path / "out.nwb")


def test_two_hosts_of_one_name_are_two_on_nfs(two_hosts: Hosts, tmp_path: Path) -> None:
    """Taken for one, each would write, and undo what the other has put beside."""
    with two_hosts.called("clone"):
        done = run(two_hosts, tmp_path / "out.nwb", "direct", "nfs")
    assert done.returncode == 0, done.stderr
    assert "the root writes for all ranks, because 2 hosts cannot write one file on nfs4" in done.stdout
    assert_is_plain(tmp_path / "out.nwb")


def test_writers_on_every_host_are_refused_on_nfs(two_hosts: Hosts, tmp_path: Path) -> None:
    done = run(two_hosts, tmp_path / "out.nwb", "direct", "nfs", "writers_per_node=1")
    assert done.returncode != 0
    assert "2 hosts cannot write one file safely on a file system of type nfs4" in done.stderr, done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not parallel_hdf5(), reason="this h5py was built without MPI: no mpio")
def test_parallel_hdf5_on_several_hosts_is_refused_on_nfs(two_hosts: Hosts, tmp_path: Path) -> None:
    done = run(two_hosts, tmp_path / "out.nwb", "mpio", "nfs")
    assert done.returncode != 0
    assert "backend 'mpio' has all ranks write, but here the root writes" in done.stderr, done.stderr
    assert "because 2 hosts cannot write one file on nfs4" in done.stderr and "Use backend='direct'" in done.stderr
    assert done.stderr.count("has all ranks write") == 1
    assert list(tmp_path.iterdir()) == []


# -- files of each rank's own --------------------------------------------------------------------------------


@pytest.fixture
def local(two_hosts: Hosts, tmp_path: Path) -> Iterator[Path]:
    """Give a folder that each node can have for itself, and that none has yet."""
    disk = tmp_path / "local"
    disk.mkdir()
    with ExitStack() as mounted:
        for node in two_hosts.nodes:
            mounted.enter_context(node.without(disk))
        yield disk / "own"


def test_parts_are_written_on_each_hosts_own_disk_first(two_hosts: Hosts, tmp_path: Path, local: Path) -> None:
    for node in two_hosts.nodes:
        node.run("mkdir", local)
    output, before = tmp_path / "out.nwb", [node.run("stat", "-c", "%y", local) for node in two_hosts.nodes]
    done = run(two_hosts, output, "virtual", "none", f"local={local}")
    assert done.returncode == 0, done.stderr
    parts = sorted(part.name for part in output.with_name("out.nwb.parts").iterdir())
    assert parts == [f"000{rank}.h5" for rank in range(4)]
    assert_is_plain(output, parts=True)
    for node, then in zip(two_hosts.nodes, before, strict=True):
        assert node.run("stat", "-c", "%y", local) != then, "nothing was ever written there"
        assert node.run("ls", local) == ""
    merge(output, tmp_path / "whole.nwb", progress=False, bulk_threshold=1)
    with h5py.File(output) as there, h5py.File(tmp_path / "whole.nwb") as here:
        for name in ("filtered", "bare", "filled", "chunked", "iterated", "movie"):
            data = here[f"/acquisition/{name}/data"]
            assert not data.is_virtual and np.array_equal(data, there[data.name])


def test_a_host_without_its_own_folder_is_named(two_hosts: Hosts, tmp_path: Path, local: Path) -> None:
    two_hosts.nodes[0].run("mkdir", local)
    done = run(two_hosts, tmp_path / "out.nwb", "virtual", "none", f"local={local}")
    assert done.returncode != 0
    assert f"the node-local folder must exist on every host [at {local} on host node2]" in done.stderr, done.stderr
    assert done.stderr.count("the node-local folder must exist") == 1
    assert two_hosts.nodes[0].run("ls", local) == ""
    assert [item.name for item in tmp_path.iterdir()] == ["local"]


def test_parts_of_hosts_that_cache_make_one_file(two_hosts: Hosts, cached: Path) -> None:
    """No file has two writers, and the root hears from ranks, not from the folder, what is in their parts."""
    done = run(two_hosts, cached / "spread.nwb", "virtual")
    assert done.returncode == 0, done.stderr
    assert_is_plain(cached.with_name("disk") / "spread.nwb", parts=True)
    assert_verified(two_hosts, cached / "spread.nwb")


def test_hosts_that_cache_fill_one_store(two_hosts: Hosts, cached: Path, tmp_path: Path) -> None:
    """Nor has a file of a store; all of them are made by one host or the other."""
    zarr = pytest.importorskip("zarr", reason="hdmf-zarr is an extra, which is not installed here")
    pytest.importorskip("hdmf_zarr", reason="hdmf-zarr is an extra, which is not installed here")
    done = run(two_hosts, cached / "out.nwb.zarr", "zarr")
    assert done.returncode == 0, done.stderr
    stores = [tmp_path / "of-one-rank.nwb.zarr", cached.with_name("disk") / "out.nwb.zarr"]
    with NWBParallelIO(stores[0], "w", progress=False, **SETTINGS) as io:
        io.write(session())
    expected, found = ({item.relative_to(store) for item in store.rglob("*")} for store in stores)
    assert found == expected
    written = zarr.open(str(stores[1]), "r")["acquisition"]
    with h5py.File(write_plainly(tmp_path / "plain.nwb", session())) as plain:
        for name, series in plain["acquisition"].items():
            assert np.array_equal(series["data"], written[name]["data"]), name
    assert_verified(two_hosts, cached / "out.nwb.zarr")

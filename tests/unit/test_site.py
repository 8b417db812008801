"""Which backend follows from the build and the data, and which file systems are refused."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import pytest

from parnwb import site
from parnwb.errors import LaunchError, PlanError
from parnwb.site import check_parallel_hdf5, check_shared_writing, choose_backend, file_system

MOUNTS = """\
sysfs /sys sysfs rw 0 0
/dev/vda1 / ext4 rw 0 0
tmpfs /dev/shm tmpfs rw 0 0
server:/home /home nfs4 rw 0 0
/dev/sdb1 /home/local xfs rw 0 0
lustre@tcp:/scratch /scratch lustre rw 0 0
//nas/lab /mnt/lab\\040data cifs rw 0 0
//nas/back /mnt/back\\134slash cifs rw 0 0
server:/d /mnt/données nfs rw 0 0
server:/l /mnt/\udcff\x85raw nfs rw 0 0
overlay /scratchy overlay rw 0 0
/dev/sdc1 /scratch/over xfs rw 0 0
server:/over /scratch/over nfs rw 0 0
"""


@pytest.fixture
def mounts(monkeypatch):
    real = Path.read_bytes

    def read_bytes(self: Path) -> bytes:
        return os.fsencode(MOUNTS) if str(self) == "/proc/self/mounts" else real(self)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)


# -- file systems --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/", "ext4"),
        ("/var/data", "ext4"),
        ("/home", "nfs4"),
        ("/home/anna/data", "nfs4"),
        ("/home/local", "xfs"),
        ("/home/localised", "nfs4"),
        ("/scratch/x", "lustre"),
        ("/scratchy/x", "overlay"),
        ("/scratch/over/x", "nfs"),  # the later mount hides the earlier one
        ("/mnt/lab data/x", "cifs"),
        ("/mnt/données/x", "nfs"),
        ("/mnt/back\\slash", "cifs"),
        ("/mnt/\udcff\x85raw/x", "nfs"),  # not UTF-8, and a character that ends a line elsewhere
        ("/mnt/other", "ext4"),
    ],
)
def test_longest_mount_holds_the_folder(mounts, folder, kind):
    assert file_system(Path(folder)) == kind


def test_links_are_followed(mounts, tmp_path):
    (tmp_path / "link").symlink_to("/scratch")
    assert file_system(tmp_path / "link" / "x") == "lustre"


def test_unknown_where_nothing_is_told(monkeypatch):
    def refuse(self: Path) -> bytes:
        raise FileNotFoundError(self)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert file_system(Path("/")) == "unknown"


def test_this_machine_is_known(tmp_path):
    assert file_system(Path("/proc")) == "proc"
    mounted = [line.split()[1] for line in Path("/proc/self/mounts").read_bytes().splitlines()]
    assert (file_system(tmp_path) != "unknown") == (b"/" in mounted)  # a changed root is no mount


@pytest.mark.parametrize("folder", ["/home/x", "/mnt/lab data", "/scratch/over"])
def test_several_hosts_do_not_share_a_caching_file_system(mounts, folder):
    check_shared_writing(Path(folder), hosts=1)
    with pytest.raises(
        LaunchError, match=r"several hosts \(3\) cannot write one file safely.*(nfs|cifs)"
    ) as caught:
        check_shared_writing(Path(folder), hosts=3)
    assert caught.value.where == folder


@pytest.mark.parametrize("folder", ["/scratch/x", "/home/local", "/"])
def test_several_hosts_share_other_file_systems(mounts, folder):
    check_shared_writing(Path(folder), hosts=3)


# -- backends ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parallel", [True, False])
def test_auto_says_what_it_chose_and_why(monkeypatch, parallel):
    monkeypatch.setattr(site, "parallel_hdf5", lambda: parallel)
    choice = choose_backend("auto")
    assert choice.name == "direct" and "can be resumed" in choice.reason


def test_wanted_backend_is_taken(monkeypatch):
    monkeypatch.setattr(site, "parallel_hdf5", lambda: True)
    for name in ("direct", "mpio"):
        assert choose_backend(name).name == name


def test_mpio_needs_parallel_hdf5(monkeypatch):
    monkeypatch.setattr(site, "parallel_hdf5", lambda: False)
    with pytest.raises(LaunchError, match="built with MPI.*backend='direct'"):
        choose_backend("mpio")
    assert choose_backend("direct").name == "direct"


def test_unknown_backend_is_refused_by_name():
    with pytest.raises(PlanError, match="backend must be one of auto, direct, mpio, got 'adios'"):
        choose_backend("adios")


def test_build_is_asked():
    assert site.parallel_hdf5() == h5py.get_config().mpi


@pytest.mark.parametrize(
    ("version", "bad"),
    [((1, 10, 8), False), ((1, 14, 0), True), ((1, 14, 2), True), ((1, 14, 3), False), ((2, 0, 0), False)],
)
def test_release_that_returns_wrong_data_is_refused(monkeypatch, version, bad):
    monkeypatch.setattr(h5py.version, "hdf5_version_tuple", version)
    check_parallel_hdf5(chunked_unfiltered=False)
    if bad:
        with pytest.raises(LaunchError, match="wrong data.*1.14.3"):
            check_parallel_hdf5(chunked_unfiltered=True)
    else:
        check_parallel_hdf5(chunked_unfiltered=True)

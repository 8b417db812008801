"""Which file system holds a folder, and who writes a file there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from parnwb.errors import LaunchError, PlanError
from parnwb.machine.storage import KINDS, Client, Sharing, check_writers_per_node, file_system, kind_of, writers

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


@pytest.mark.parametrize(
    ("name", "kind", "sharing"),
    [
        ("lustre", "Lustre", Sharing.PARALLEL),
        ("gpfs", "Spectrum Scale (GPFS)", Sharing.PARALLEL),
        ("nfs4", "NFS", Sharing.ROOT),
        ("fuse.glusterfs", "GlusterFS", Sharing.ROOT),
        ("ext4", "ext4", Sharing.LOCAL),
        ("newfs", "newfs", Sharing.UNKNOWN),
        ("fuse", "fuse", Sharing.DOUBTFUL),
        ("fuse.juicefs", "fuse.juicefs", Sharing.DOUBTFUL),
        ("fuse.ceph", "CephFS", Sharing.PARALLEL),
    ],
)
def test_kinds_have_a_policy(name: str, kind: str, sharing: Sharing) -> None:
    assert (kind_of(name).name, kind_of(name).sharing) == (kind, sharing)


def test_every_kind_is_in_the_table_that_users_read() -> None:
    """docs/clusters.md, "Which ranks write": each kind in the row of its policy, and no other."""
    page = (Path(__file__).parents[3] / "docs" / "clusters.md").read_text()
    section = page.split("### Which ranks write")[1].split("###")[0]
    rows_of_page = [line.split("|")[1].strip() for line in section.splitlines() if "|" in line][2:]
    parallel, root, doubtful, local, unknown = rows_of_page
    rows = {Sharing.PARALLEL: parallel, Sharing.ROOT: root}
    named = {sharing: set(row.split(", ")) for sharing, row in rows.items()}
    known = {sharing: {kind.name for kind in KINDS.values() if kind.sharing is sharing} for sharing in rows}
    assert named == known
    assert (local, unknown) == ("disks and memory of one host", "others")
    assert doubtful.startswith("any other of type `fuse...`")
    assert all(kind_of(word).sharing is Sharing.DOUBTFUL for word in doubtful.split("`")[3::2])


# -- who writes ----------------------------------------------------------------------------------------------

HOSTS = ("a", "a", "b", "b", "b")


def clients(kind: str, hosts: tuple[str, ...] = HOSTS) -> list[Client]:
    """Return those of ranks that all see one kind of file system, each host through one mount."""
    return [Client(host, kind, 40) for host in hosts]


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "fuse.glusterfs"])
def test_the_root_writes_where_hosts_would_damage_each_others_pages(kind: str) -> None:
    found = writers(clients(kind), None)
    assert found.of == (0,) * 5 and found.root_alone
    assert f"2 hosts cannot write one file on {kind}" in found.reason
    assert found.served_by(0) and not found.served_by(2)


def test_one_host_that_sees_the_servers_own_disk_is_enough_to_be_careful() -> None:
    assert writers([*clients("ext4", HOSTS[:2]), *clients("nfs", HOSTS[2:])], None).root_alone


@pytest.mark.parametrize("kind", ["fuse", "fuse.juicefs", "fuse.gcsfuse"])
def test_the_root_writes_where_nobody_knows_what_clients_do_unless_it_is_said(kind: str) -> None:
    found = writers(clients(kind), None)
    assert found.root_alone
    assert f"nobody knows whether 2 hosts can write one file on {kind}" in found.reason
    assert writers(clients(kind), 2).of == (0, 1, 2, 3, 2)
    assert writers(clients(kind, ("a",) * 3), None).of == (0, 1, 2)
    assert "cannot write" in writers([*clients(kind, ("a",)), *clients("nfs", ("b",))], None).reason


@pytest.mark.parametrize("kind", ["lustre", "ext4", "newfs"])
def test_elsewhere_all_write(kind: str) -> None:
    found = writers(clients(kind), None)
    assert (found.of, found.reason) == ((0, 1, 2, 3, 4), "")
    assert not found.root_alone and not any(map(found.served_by, range(5)))


def test_ranks_of_one_host_write_to_nfs() -> None:
    assert writers(clients("nfs", ("a",) * 3), None).of == (0, 1, 2)


@pytest.mark.parametrize(
    ("per_node", "of"), [(0, (0, 0, 0, 0, 0)), (1, (0, 0, 2, 2, 2)), (2, (0, 1, 2, 3, 2)), (9, (0, 1, 2, 3, 4))]
)
def test_so_many_of_each_host_write(per_node: int, of: tuple[int, ...]) -> None:
    found = writers(clients("lustre"), per_node)
    assert found.of == of
    assert bool(found.reason) == (of != (0, 1, 2, 3, 4))


def test_writers_on_several_hosts_are_refused_where_that_is_not_safe() -> None:
    with pytest.raises(LaunchError, match="2 hosts cannot write one file safely.*nfs.*the root writes"):
        writers(clients("nfs"), 1)
    assert writers(clients("nfs"), 0).root_alone


@pytest.mark.parametrize("given", [-1, True, 1.5, "all"])
def test_what_is_no_number_of_writers_is_refused(given: object) -> None:
    with pytest.raises(PlanError, match="writers_per_node must be a number of ranks"):
        check_writers_per_node(given)


def test_containers_of_one_host_that_mounted_it_apart_are_several() -> None:
    apart = [Client("a", "fuse.sshfs", device) for device in (40, 40, 41)]
    found = writers(apart, None)
    assert found.root_alone and "2 mounts of the folder on a cannot write one file on fuse.sshfs" in found.reason
    with pytest.raises(LaunchError, match="2 mounts of the folder on a cannot write one file safely"):
        writers(apart, 2)


def test_a_client_is_what_is_mounted_there(tmp_path: Path) -> None:
    inside = tmp_path / "folder"
    inside.mkdir()
    assert Client.of("a", inside) == Client.of("a", tmp_path) != Client.of("b", tmp_path)
    assert Client.of("a", tmp_path) != Client.of("a", Path("/proc"))
    assert Client.of("a", tmp_path / "missing").device == 0


def test_one_process_writes_for_itself() -> None:
    assert writers(clients("nfs", ("a",)), 0).of == (0,)
    assert not writers(clients("nfs", ("a",)), 0).root_alone

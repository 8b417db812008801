"""What counts as one host."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from parnwb.comm.node import Node, distinct_names

ONE = Node("gpu", "boot-1", "net:[1]")


def test_ranks_of_one_node_have_its_name() -> None:
    assert distinct_names([ONE, Node("cpu", "boot-2", "net:[1]"), ONE]) == ("gpu", "cpu", "gpu")


@pytest.mark.parametrize(
    "other", [Node("gpu", "boot-2", "net:[1]"), Node("gpu", "boot-1", "net:[2]"), Node("gpu", "", "")]
)
def test_nodes_of_one_name_are_told_apart(other: Node) -> None:
    """Two machines, or two containers whose clients of NFS know nothing of each other."""
    assert distinct_names([ONE, other, ONE, other]) == ("gpu#1", "gpu#2", "gpu#1", "gpu#2")


def test_a_copy_of_a_running_machine_is_another_one() -> None:
    assert distinct_names([ONE, Node("gpu-copy", ONE.boot, ONE.network)]) == ("gpu", "gpu-copy")


def test_processes_of_one_host_are_at_one_node() -> None:
    program = "from parnwb.comm.node import Node; print(Node.here())"
    here = Node.here()
    assert here.name == socket.gethostname() and here.boot and here.network.startswith("net:")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == str(here)

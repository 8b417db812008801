"""``Node``: what counts as one host. Names do not tell: clones of a machine, or containers, may share one.

Who is taken for one host with others trusts that they share the cache of a file's pages, so where in doubt nodes are
two: then one writes for the other, which is slower and always right. MPI's own answer, ``Split_type`` by shared memory,
is not asked: it is what the launcher was told, and says nothing of caches.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass

from parnwb.machine import kernel


@dataclass(frozen=True)
class Node:
    """One host: processes of one kernel, by one name, on one network.

    Parameters
    ----------
    name
        For people. Part of it, because a machine that was frozen and copied with its memory is the same start of its
        kernel twice.
    boot
        Identifier of the running kernel, which has one cache of pages.
    network
        Its namespace. Clients of NFS on one kernel share no pages if their networks are two, as containers may have
        them. Containers that use the network of their machine, as launchers of MPI start them, are that machine; what
        they mount apart from each other ``storage.Client`` tells.
    """

    name: str
    boot: str
    network: str

    @classmethod
    def here(cls) -> Node:
        """Return the node of this process. Independent."""
        return cls(socket.gethostname(), kernel.boot(), kernel.namespace("net"))


def distinct_names(nodes: Sequence[Node]) -> tuple[str, ...]:
    """Return the name of each node, with a number behind it where several have one name. Independent."""
    alike: dict[str, list[Node]] = {}
    for node in dict.fromkeys(nodes):
        alike.setdefault(node.name, []).append(node)
    names = {
        node: name if len(sharing) == 1 else f"{name}#{number}"
        for name, sharing in alike.items()
        for number, node in enumerate(sharing, start=1)
    }
    return tuple(names[node] for node in nodes)

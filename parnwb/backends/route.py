"""``Route``: by whom a rank's messages reach the root. Where ranks are many, one rank of each node speaks for it."""

from __future__ import annotations

import os
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

MOST_SPEAKERS = 64
"""Up to so many ranks speak to the root themselves."""
NODE_RANKS = "PARNWB_NODE_RANKS"
"""For tests: so many ranks that follow each other count as a node, and all nodes have a speaker."""


@dataclass(frozen=True)
class Route:
    """The way of one rank's messages.

    Parameters
    ----------
    above
        To whom this rank speaks.
    below
        Who speaks to this rank. For the root these are the speakers, for whom each of them speaks they say.
    """

    above: int
    below: frozenset[int]


def route_of(rank: int, hosts: Sequence[str]) -> Route:
    """Return the route of a rank. Independent, the same on all ranks.

    Parameters
    ----------
    hosts
        Of each rank.
    """
    nodes: Sequence[Hashable] = hosts
    most = MOST_SPEAKERS
    if together := int(os.environ.get(NODE_RANKS, "0")):
        nodes, most = [number // together for number in range(len(hosts))], 0
    if len(hosts) - 1 <= most:
        return Route(0, frozenset(range(1, len(hosts))) if rank == 0 else frozenset())
    first: dict[Hashable, int] = {}
    for number, node in enumerate(nodes):
        first.setdefault(node, number)
    # The ranks of the root's own node speak to it as they did.
    above = [0 if first[node] in (0, number) else first[node] for number, node in enumerate(nodes)]
    return Route(above[rank], frozenset(n for n, other in enumerate(above) if other == rank and n != rank))

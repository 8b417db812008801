"""How many chunks a second one root can place, asked by very many ranks in turn.

    python benchmarks/allocator.py [--chunks 500000] [--ranks 10000] [--node 100] [--at-once 4]
    python benchmarks/allocator.py --smoke

The ranks are made up; all that serves them is what a run has. The root is `RootAddresses`: it takes messages by MPI,
unpacks them, keeps account of who is how far, lets HDF5 allocate each chunk and enter it into its index, keeps the
records, answers by MPI, and in the end appends the journal's frame. Where a node has several ranks, the first one is
`AskedAddresses`, which makes one message of what they ask and spreads the reply. Every rank asks for a few chunks of
its own share at a time, all ranks in turn; when it has done all, it asks for something to do. The clock runs while the
root works, and only then.

Once each rank is a node of its own, so that its message comes by itself; once the messages of nodes come one after the
other; and once those of all nodes wait while the root is busy, as they do where it limits. `bare` is HDF5's part and
what goes with it, of one message of each node, without all the rest.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from measure import median, table
from mpi4py import MPI

from parnwb.allocator import Allocator
from parnwb.authoring.skeleton import open_on
from parnwb.backends.addresses import ASK, FROM_ROOT, TO_ROOT, message_of
from parnwb.backends.asking import AskedAddresses
from parnwb.backends.backend import Job, Portion
from parnwb.backends.giving import RootAddresses
from parnwb.backends.requests import REPLY_TAIL, Numbers, Request, packed
from parnwb.backends.stretch import PARTS
from parnwb.comm import Ranks
from parnwb.commits.journal import Journal
from parnwb.layout import FileLayout
from parnwb.overlay import Overlay
from parnwb.planning.plan import WritePlan
from parnwb.sources.raw_chunks import read_spec

SMOKE = {"chunks": 20_000, "repeats": 1, "ranks": 1000}
CHUNK, COLUMNS = (15_000, 64), 6
GOAL = 50_000
HEADINGS = ["messages", "chunks/s of the processor", "spread", "by the clock", "spread"]


class Wire:
    """MPI from this process to itself, for the root: every message is sent and received, and its rank remembered."""

    def __init__(self) -> None:
        self.senders: deque[int] = deque()
        self.receivers: deque[int] = deque()

    def Isend(self, data: Numbers, dest: int, tag: int) -> MPI.Request:
        """Send to a made-up rank."""
        self.receivers.append(dest)
        return MPI.COMM_SELF.Isend(data, dest=0, tag=tag)

    def Iprobe(self, source: int, tag: int, status: MPI.Status | None = None) -> bool:
        """Look for a message."""
        return MPI.COMM_SELF.Iprobe(source=MPI.ANY_SOURCE, tag=tag, status=status)

    def Irecv(self, numbers: Numbers, source: int, tag: int) -> MPI.Request:
        """Take the message that was found."""
        return MPI.COMM_SELF.Irecv(numbers, source=MPI.ANY_SOURCE, tag=tag)


class RootOfMany(Ranks):
    """The root's end of messages, as in a run, on a wire that leads to made-up ranks."""

    def __init__(self, nodes: tuple[str, ...]) -> None:
        super().__init__(None)
        self.wire, self.size, self._hosts = Wire(), len(nodes), nodes
        self._comm = self.wire
        self._sent, self._received = [0] * self.size, [0] * self.size

    def receive(self, tag: int, source: int | None = None, dtype: Any = np.int64) -> tuple[int, Numbers] | None:
        """Return a message, and who would have sent it."""
        found = super().receive(tag, source, dtype)
        return None if found is None else (self.wire.senders.popleft(), found[1])


class MadeUpRank:
    """A rank's end of messages, and how they get there: to and from the root by the wire, to others by hand."""

    def __init__(self, rank: int, hosts: tuple[str, ...], post: Post) -> None:
        self.rank, self.hosts, self._post = rank, hosts, post

    def send(self, numbers: Numbers, to: int, tag: int) -> None:
        """Send."""
        self._post.send(numbers, self.rank, to, tag)

    def receive(self, tag: int, source: int | None = None) -> tuple[int, Numbers] | None:
        """Return a message that waits, if there is one."""
        waiting = self._post.boxes.get((self.rank, tag))
        return waiting.popleft() if waiting else None


class Post:
    """Carries messages between the root and all others."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.sent: list[tuple[MPI.Request, Numbers]] = []
        self.boxes: dict[tuple[int, int], deque[tuple[int, Numbers]]] = {}

    def send(self, numbers: Numbers, sender: int, to: int, tag: int) -> None:
        """Send a message."""
        if to:
            self.boxes.setdefault((to, tag), deque()).append((sender, numbers))
            return
        self._wire.senders.append(sender)
        self.sent = [one for one in self.sent if not one[0].Test()] if len(self.sent) > 100 else self.sent
        self.sent.append((MPI.COMM_SELF.Isend(numbers, dest=0, tag=tag), numbers))

    def fetch(self) -> None:
        """Take what the root has sent."""
        while self._wire.receivers:
            status = MPI.Status()
            MPI.COMM_SELF.Probe(tag=FROM_ROOT, status=status)
            numbers = np.empty(status.Get_count(MPI.INT64_T), dtype=np.int64)
            MPI.COMM_SELF.Recv(numbers, tag=FROM_ROOT)
            self.send(numbers, 0, self._wire.receivers.popleft(), FROM_ROOT)


class Clock:
    """Seconds that the root works: of the processor, and of the clock."""

    def __init__(self) -> None:
        self.processor = self.wall = 0.0

    def __call__(self, work: Callable[[], object]) -> None:
        """Do some of it."""
        processor, wall = time.process_time(), time.perf_counter()
        work()
        self.processor += time.process_time() - processor
        self.wall += time.perf_counter() - wall


def new_file(chunks: int) -> tuple[Any, Overlay, FileLayout]:
    """Return an HDF5 file in memory with one dataset of so many chunks."""
    overlay = Overlay()
    file = open_on(overlay, Path("allocator.nwb").absolute())
    shape = (-(-chunks // COLUMNS) * CHUNK[0], COLUMNS * CHUNK[1])
    file.create_dataset("data", shape=shape, chunks=CHUNK, dtype="<i2", compression="gzip", shuffle=True)
    return file, overlay, FileLayout((read_spec(file["data"]),))


class Crowd:
    """What made-up ranks ask: each for the chunks of its own share, some at a time.

    Parameters
    ----------
    chunks, ranks, node, at_once
        Of all; how many ranks; how many a node has; and chunks of one request.
    """

    def __init__(self, chunks: int, ranks: int, node: int, at_once: int) -> None:
        self.hosts = tuple(f"node{rank // node}" for rank in range(ranks))
        self.share, self.at_once, self.ranks = max(1, chunks // ranks), at_once, ranks
        self.steps = math.ceil(self.share / at_once)
        self.nodes = [range(first, min(first + node, ranks)) for first in range(0, ranks, node)]
        self._sizes = np.random.default_rng(0).integers(400_000, 900_000, self.share * ranks)

    def request(self, rank: int, step: int) -> Request:
        """Return what a rank asks at a step; behind the last it asks for something to do."""
        if step == self.steps:
            return Request.for_work(rank)
        low = rank * self.share
        own = np.arange(low + step * self.at_once, low + min((step + 1) * self.at_once, self.share))
        rows = np.stack([0 * own, own, self._sizes[own], 0 * own, own], axis=1)
        return Request(rank, rows, len(own) * math.prod(CHUNK) * 2, PARTS * (step + 1), PARTS * self.steps)


class Run:
    """A root, those who speak for nodes, and made-up ranks."""

    def __init__(self, crowd: Crowd, folder: Path) -> None:
        self.crowd, self.clock = crowd, Clock()
        self._file, overlay, layout = new_file(crowd.share * crowd.ranks)
        plan = WritePlan(layout, crowd.ranks)
        self._ranks = ranks = RootOfMany(crowd.hosts)
        target = SimpleNamespace(path=folder / "out.nwb", check_ours=lambda: None)
        self._journal = Journal.create(folder / "journal")
        pen: Any = SimpleNamespace(serve=lambda: False)
        skeleton: Any = SimpleNamespace(file=self._file, overlay=overlay)
        job = Job(ranks, target, layout, plan, skeleton, journal=self._journal)  # type: ignore[arg-type]
        self._root = RootAddresses(job, pen, pen, Allocator(self._file, overlay, layout))
        portion = Portion(plan, {}, movable=True)
        self._root.begin(portion)
        self._post = Post(ranks.wire)
        self._speakers: dict[int, AskedAddresses] = {}
        for node in crowd.nodes[1:]:
            if len(node) > 1:
                rank: Any = MadeUpRank(node[0], crowd.hosts, self._post)
                job = Job(rank, target, layout, plan, None)  # type: ignore[arg-type]
                self._speakers[node[0]] = AskedAddresses(job, pen, pen)
                self._speakers[node[0]].begin(portion)

    def ask(self, node: range, step: int) -> None:
        """Have all ranks of a node ask; those of the root's own node speak to it themselves, but for the root."""
        speaker = node[0] if node[0] in self._speakers else 0
        for rank in node:
            if rank:
                asked = message_of(ASK, packed([self.crowd.request(rank, step)], []))
                self._post.send(asked, rank, speaker, TO_ROOT)
        if speaker:
            self._speakers[speaker].serve()

    def answered(self, node: range, step: int) -> Iterator[Numbers]:
        """Iterate over the addresses that the ranks of a node get; the speaker's own it keeps for itself."""
        if (speaker := self._speakers.get(node[0])) is not None:
            speaker.serve()
            assert speaker._mine is not None
            yield speaker._mine[:-REPLY_TAIL]
            speaker._mine = None
        for rank in node:
            if rank and not (speaker is not None and rank == node[0]):
                yield self._post.boxes[rank, FROM_ROOT].popleft()[1][1:-REPLY_TAIL]

    def all_of_it(self, all_wait: bool) -> int:
        """Ask for all chunks; return how many were placed, none of them where another one is."""
        found = []
        for step in range(self.crowd.steps + 1):
            for nodes in [self.crowd.nodes] if all_wait else [[node] for node in self.crowd.nodes]:
                for node in nodes:
                    self.ask(node, step)
                self.clock(self._root.serve)
                self._post.fetch()
                found += [addresses for node in nodes for addresses in self.answered(node, step)]
        self.clock(lambda: self._root.close({}))
        placed = np.concatenate(found)
        assert len(np.unique(placed)) == len(placed)
        return len(placed)

    def end(self) -> None:
        """Let go of the messages, of the file and of the journal."""
        MPI.Request.Waitall([request for request, _ in (*self._post.sent, *self._ranks._unfinished)])
        self._journal.close()
        self._file.close()


def rate(crowd: Crowd, all_wait: bool) -> tuple[float, float]:
    """Return chunks a second of the root's processor, and by the clock."""
    with tempfile.TemporaryDirectory(prefix="parnwb-benchmark-") as folder:
        run = Run(crowd, Path(folder))
        placed = run.all_of_it(all_wait)
        run.end()
        return placed / run.clock.processor, placed / run.clock.wall


def bare_rate(crowd: Crowd) -> tuple[float, float]:
    """Return the same of the allocator without all that is around it."""
    file, overlay, layout = new_file(crowd.share * crowd.ranks)
    allocator, clock, placed = Allocator(file, overlay, layout), Clock(), 0
    for step in range(crowd.steps):
        for node in crowd.nodes:
            rows = np.concatenate([crowd.request(rank, step).rows for rank in node])
            clock(lambda rows=rows: allocator.place_all(rows))  # type: ignore[misc]
            placed += len(rows)
    file.close()
    return placed / clock.processor, placed / clock.wall


def ways(chunks: int, ranks: int, node: int, at_once: int) -> dict[str, Callable[[], tuple[float, float]]]:
    """Return what is measured, by name."""
    alone, together = Crowd(chunks, ranks, 1, at_once), Crowd(chunks, ranks, node, at_once)
    return {
        "each rank by itself": lambda: rate(alone, False),
        "a message of each node": lambda: rate(together, False),
        "messages of all nodes wait": lambda: rate(together, True),
        "bare": lambda: bare_rate(together),
    }


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=500_000)
    parser.add_argument("--ranks", type=int, default=10_000)
    parser.add_argument("--node", type=int, default=100, help="ranks of a node (100)")
    parser.add_argument("--at-once", type=int, default=4, help="chunks that a rank asks for at a time (4)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--smoke", action="store_true", help="a small size, to see that this program works")
    arguments = parser.parse_args()
    if arguments.smoke:
        vars(arguments).update(SMOKE)
    os.environ.pop("PARNWB_NODE_RANKS", None)
    rows = []
    for name, way in ways(arguments.chunks, arguments.ranks, arguments.node, arguments.at_once).items():
        found = zip(*(way() for _ in range(arguments.repeats)), strict=True)
        cells = [(f"{median(one):.0f}", f"{min(one):.0f} to {max(one):.0f}") for one in found]
        rows.append([name, *cells[0], *cells[1]])
    print(f"{arguments.chunks} chunks, {arguments.ranks} ranks, {arguments.at_once} chunks at a time; goal {GOAL}/s\n")
    print(table(HEADINGS, rows))


if __name__ == "__main__":
    main()

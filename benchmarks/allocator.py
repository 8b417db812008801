"""How many chunks a second one root can place, asked by very many ranks in turn.

    python benchmarks/allocator.py [--chunks 500000] [--ranks 10000] [--node 100] [--at-once 4]
    python benchmarks/allocator.py --smoke

The ranks are made up, the allocator is the real one: HDF5 on the root, which allocates each chunk and enters it into
its index. Every rank asks for a few chunks of its own share at a time, all ranks in turn. Once each rank's message
comes by itself; once those of a node come together, as ranks send them where they are many; and once in one go, which
is what the root does with all messages that wait for it. The figures are of the processor's time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from measure import median, table

from parnwb.allocator import Allocator
from parnwb.authoring.skeleton import open_on
from parnwb.backends.requests import Request, packed, unpacked
from parnwb.layout import FileLayout
from parnwb.overlay import Overlay
from parnwb.sources.raw_chunks import read_spec

SMOKE = {"chunks": 20_000, "repeats": 1, "ranks": 1000}
CHUNK = (15_000, 64)
GOAL = 50_000


def messages(chunks: int, ranks: int, together: int, at_once: int) -> Iterator[np.ndarray]:
    """Iterate over what reaches the root, made before the clock runs."""
    sizes = np.random.default_rng(0).integers(400_000, 900_000, chunks)
    share = chunks // ranks
    for step in range(0, share, at_once):
        for first in range(0, ranks, together):
            requests = []
            for rank in range(first, min(first + together, ranks)):
                own = np.arange(rank * share + step, rank * share + min(step + at_once, share))
                rows = np.stack([0 * own, own, sizes[own], 0 * own, own], axis=1)
                requests.append(Request(rank, rows, 0, 0, 1))
            yield packed(requests, [])


def rate(chunks: int, ranks: int, together: int, at_once: int) -> float:
    """Return chunks a second of the root's processor."""
    overlay = Overlay()
    file = open_on(overlay, Path("allocator.nwb").absolute())
    columns = 6
    shape = (-(-chunks // columns) * CHUNK[0], columns * CHUNK[1])
    file.create_dataset("data", shape=shape, chunks=CHUNK, dtype="<i2", compression="gzip", shuffle=True)
    allocator = Allocator(file, overlay, FileLayout((read_spec(file["data"]),)))
    coming = list(messages(chunks, ranks, together, at_once))
    began = time.process_time()
    placed = 0
    for message in coming:
        requests, _ = unpacked(message)
        placed += len(allocator.place_all(np.concatenate([request.rows for request in requests])))
    seconds = time.process_time() - began
    file.close()
    return placed / seconds


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
    rows = []
    ways = (("each rank by itself", 1), ("a message of each node", arguments.node), ("all at once", arguments.ranks))
    for name, together in ways:
        found = [rate(arguments.chunks, arguments.ranks, together, arguments.at_once) for _ in range(arguments.repeats)]
        rows.append([name, f"{median(found):.0f}", f"{min(found):.0f} to {max(found):.0f}"])
    print(f"{arguments.chunks} chunks, {arguments.ranks} ranks, {arguments.at_once} chunks at a time; goal {GOAL}/s\n")
    print(table(["messages", "chunks/s", "spread"], rows))


if __name__ == "__main__":
    main()

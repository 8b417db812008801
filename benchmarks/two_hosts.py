"""One host with two ranks against two hosts with one each: what it costs that ranks talk over a network.

The hosts are namespaces on one machine, so that the network between them is its memory: the figures show the cost of
messages by TCP, not that of any cable. Needs root: python benchmarks/two_hosts.py [--megabytes 400] [--repetitions 3]
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from cluster.hosts import Hosts, hosts_up, why_not

from parnwb.recordings.made_recording import make_spikeglx_recording

ROOT = Path(__file__).parents[1]
METADATA = "NWBFile: {session_start_time: '2024-03-05T10:15:30+00:00'}\n"
SECONDS = 300
# Hosts, ranks on each, and options of convert.
PLACES = {
    "1 host x 2 ranks": (1, 2, []),
    "2 hosts x 1 rank": (2, 1, []),
    "2 hosts x 1 rank, root writes": (2, 1, ["--writers-per-node", "0"]),
}


def seconds(hosts: Hosts, place: str, folder: Path, compression: str) -> float:
    """Convert once; return what the command says it took."""
    count, ranks, options = PLACES[place]
    argv = [sys.executable, "-m", "parnwb", "convert", folder / "recording", folder / "out.nwb", "--overwrite"]
    argv += ["--metadata", folder / "metadata.yaml", "--compression", compression, *options]
    used = replace(hosts, nodes=hosts.nodes[:count])
    done = used.run_mpi(ranks, argv, timeout=SECONDS, PYTHONPATH=str(ROOT))
    told = re.search(r", ([0-9.]+) s, [0-9]+ MB/s", done.stdout)
    if done.returncode or told is None:
        raise SystemExit(f"{place} failed:\n{done.stdout}{done.stderr}")
    return float(told[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=400)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="which all hosts see (not /dev/shm)")
    parser.add_argument("--compression", default="auto")
    given = parser.parse_args()
    if (reason := why_not()) is not None:
        raise SystemExit(reason)
    with tempfile.TemporaryDirectory(dir=given.folder) as name, hosts_up() as hosts:
        folder = Path(name)
        make_spikeglx_recording(folder / "recording", megabytes=given.megabytes)
        (folder / "metadata.yaml").write_text(METADATA)
        found: dict[str, list[float]] = {place: [] for place in PLACES}
        for turn in range(given.repetitions):
            for place in list(PLACES)[:: -1 if turn % 2 else 1]:
                found[place].append(seconds(hosts, place, folder, given.compression))
    first = statistics.median(next(iter(found.values())))
    for place, times in found.items():
        middle = statistics.median(times)
        line = {"place": place, "megabytes": given.megabytes, "compression": given.compression, "seconds": times}
        print(json.dumps({**line, "median": middle, "times_one_host": round(middle / first, 2)}))


if __name__ == "__main__":
    main()

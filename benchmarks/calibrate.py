"""Measures what the scaling model needs, and compares its predictions with other runs.

    python benchmarks/calibrate.py [--megabytes 1000] [--ranks 1 2 4] [--output site.json]
    python benchmarks/calibrate.py --smoke

The costs come from runs on one rank and on two, of half the size, and those of the root from many made-up ranks
(`allocator.py`); the model has never seen the runs that it is compared with, those of the whole size. All runs are
repeated in turn, so that what the machine does meanwhile weighs on all alike, and the least counts, because that only
adds. `parnwb plan --site site.json` uses what was written.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from launching import TIMEOUT_SECONDS, launcher
from measure import MB, table
from recordings import Recording, make

from parnwb.model import MEETINGS, Site, Work, fitted, predict

CHANNELS = 384
READING = ("encoder: reading",)
CODING = ("encoder: assembling", "encoder: encoding", "encoder: checksums")
WRITING = ("writing",)
PLACING = ("giving addresses",)
FILLING = (*WRITING, *PLACING, "waiting for the encoder", "waiting for addresses", "waiting for the last rank")
PHASES = {"source": READING, "codec": CODING, "writing": WRITING}
MADE_UP = {"chunks": 20_000, "ranks": 1000, "node": 50, "at_once": 4}
SHORT = 0.05
"""Seconds below which an error in per cent means nothing."""

HEADINGS = ["ranks", "measured s", "predicted s", "error", "with start-up s", "predicted s", "limit"]
BY_PHASE = ["phase", "ranks", "measured s", "predicted s", "error"]
AT_ONCE = 1e-9
BEGAN = "PARNWB_BENCHMARK_BEGAN"
SMOKE = {"megabytes": 40, "ranks": [1, 2], "repeats": 1}


def run_job(job: str) -> None:
    """Write once, on all ranks, and print what it took."""
    from mpi4py import MPI

    from parnwb import NWBParallelIO

    warnings.simplefilter("ignore")
    recording, output = json.loads(job)
    comm = MPI.COMM_WORLD
    nwbfile = Recording.from_json(recording).nwbfile() if comm.rank == 0 else None
    comm.Barrier()
    started = time.time() - float(os.environ[BEGAN])
    began = time.perf_counter()
    with NWBParallelIO(output, "w", comm=comm, compression="auto", progress=False) as io:
        io.write(nwbfile)
    seconds = time.perf_counter() - began
    phases = comm.gather(dict(io.written.phases) if io.written is not None else {})
    if comm.rank == 0 and io.written is not None and phases is not None:
        work = Work.of(io.written.plan)
        told = {"started": started, "seconds": seconds, "phases": phases, "raw": work.raw_bytes, "chunks": work.chunks}
        told |= {"share": work.largest_share, "at_once": work.chunks_at_once, "stored": os.path.getsize(output)}
        print(json.dumps(told), flush=True)


def run(folder: Path, recording: Recording, ranks: int) -> dict[str, Any]:
    """Write once, in processes of their own."""
    output = folder / "out.nwb"
    job = json.dumps([recording.to_json(), str(output)])
    command = [*launcher(sys.executable, ranks), sys.executable, "-W", "ignore", __file__, "--job", job]
    environment = {**os.environ, BEGAN: str(time.time())}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False, env=environment
    )
    output.unlink(missing_ok=True)
    if done.returncode:
        raise SystemExit(f"the writer failed:\n{done.stderr}")
    return dict(json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{"))))


def work_of(told: dict[str, Any], ranks: int) -> Work:
    """Return what a run had to do."""
    return Work(told["raw"], told["chunks"], ranks, told["share"], told["at_once"])


def seconds_of(runs: list[dict[str, Any]], names: tuple[str, ...], root: bool = False) -> float:
    """Return the least over runs of the largest rank's seconds in some phases."""
    found = []
    for told in runs:
        ranks = told["phases"][:1] if root else told["phases"]
        found.append(max(sum(phases.get(name, 0.0) for name in names) for phases in ranks))
    return min(found)


def of_the_root() -> dict[str, float]:
    """Return what the root needs for a chunk and for a message, when many ask."""
    import allocator  # begins MPI, which would be in the way of programs that are launched: all have ended

    at_once, node = MADE_UP["at_once"], MADE_UP["node"]
    by_itself, together = (
        1 / max(allocator.rate(allocator.Crowd(**{**MADE_UP, "node": each}), False)[0] for _ in range(3))
        for each in (1, node)
    )
    message = (by_itself - together) * at_once / (1 - 1 / node)
    return {"request_seconds": message, "chunk_seconds": together - message / (at_once * node)}


def calibrated(site: Site, single: list[dict[str, Any]], double: list[dict[str, Any]]) -> Site:
    """Return the costs that runs on one rank and on two show."""
    first = single[0]
    raw, stored = first["raw"] / MB, first["stored"] / MB
    reading, encoding, writing = (seconds_of(single, names) for names in PHASES.values())
    author = seconds_of(single, ("building the NWBFile", "sampling"), root=True)
    rest = min(t["seconds"] for t in single) - max(reading + encoding, writing) - author
    site = fitted(
        site,
        read_mbs=raw / max(reading, 1e-6),
        encode_mbs=raw / max(encoding, 1e-6),
        write_mbs=stored / max(writing, 1e-6),
        ratio=raw / stored,
        **of_the_root(),
        author_seconds=author,
        tail_seconds=rest,
        import_seconds=min(t["started"] for t in single),
    )
    # What two ranks need beyond the model's opinion of them is their meetings.
    beyond = min(told["seconds"] for told in double) - writing_seconds(double[0], 2, site)
    return fitted(site, meeting_seconds=site.meeting_seconds + beyond / MEETINGS)


def writing_seconds(told: dict[str, Any], ranks: int, site: Site) -> float:
    """Return what the model says of a run, from ``NWBParallelIO`` to the finished file."""
    return predict(work_of(told, ranks), replace(site, import_seconds=AT_ONCE)).seconds


def by_phase(runs: list[dict[str, Any]], ranks: int, site: Site) -> list[list[str]]:
    """Return rows: each phase of runs as it was measured, and as the model has it."""
    said = predict(work_of(runs[0], ranks), site).phases
    measured = {name: seconds_of(runs, names) for name, names in PHASES.items()}
    measured["allocator"] = seconds_of(runs, PLACING, root=True)
    middle = [max(sum(rank.get(name, 0.0) for name in FILLING) for rank in told["phases"]) for told in runs]
    ends = [told["started"] + told["seconds"] - filling for told, filling in zip(runs, middle, strict=True)]
    measured["start-up and completing"] = min(ends)
    predicted = {**said, "start-up and completing": said["start-up"] + said["completing"]}
    rows = []
    for name, seconds in measured.items():
        error = f"{100 * (predicted[name] / seconds - 1):+.0f} %" if seconds > SHORT else "-"
        rows.append([name, str(ranks), f"{seconds:.3f}", f"{predicted[name]:.3f}", error])
    return rows


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4], help="to compare the model with")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"))
    parser.add_argument("--output", type=Path, help="where to write the site, for parnwb plan --site")
    parser.add_argument("--smoke", action="store_true", help="a small size, to see that this program works")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        run_job(arguments.job)
        return
    if arguments.smoke:
        vars(arguments).update(SMOKE)
    folder = Path(tempfile.mkdtemp(prefix="parnwb-benchmark-", dir=arguments.folder))
    try:
        small = make("neuropixels", folder / "small", max(10, arguments.megabytes // 2), CHANNELS)
        whole = make("neuropixels", folder / "whole", arguments.megabytes, CHANNELS)
        cores = len(os.sched_getaffinity(0))
        wanted = [(small, 1), (small, 2), *((whole, ranks) for ranks in arguments.ranks)]
        turns = [[run(folder, *each) for each in wanted] for _ in range(arguments.repeats)]
        single, double, *wholes = (list(runs) for runs in zip(*turns, strict=True))
        # Memory is not what limits here: the bytes of all ranks go where those of one go.
        site = replace(Site(), cores_per_node=cores, ranks_per_node=max(arguments.ranks), file_system_mbs=1e6)
        site = calibrated(site, single, double)
        rows, errors, phases = [], [], []
        for ranks, runs in zip(arguments.ranks, wholes, strict=True):
            measured, started = (min(told[name] for told in runs) for name in ("seconds", "started"))
            said, predicted = predict(work_of(runs[0], ranks), site), writing_seconds(runs[0], ranks, site)
            errors.append(100 * (predicted / measured - 1))
            whole_command = [f"{started + measured:.2f}", f"{said.seconds:.2f}"]
            rows.append([str(ranks), f"{measured:.2f}", f"{predicted:.2f}", f"{errors[-1]:+.0f} %", *whole_command])
            rows[-1].append(said.limit)
            phases += by_phase(runs, ranks, site)
        print(f"{CHANNELS} channels, {arguments.megabytes} MB, {cores} cores, in {arguments.folder}\n")
        print(table(HEADINGS, rows), table(BY_PHASE, sorted(phases, key=lambda row: row[0])), sep="\n\n")
        print(f"\nlargest error {max(map(abs, errors)):.0f} %; one root suffices for {said.root_suffices} such ranks")
        if arguments.output:
            # How many ranks this machine had to bear, and how fast its memory is, says nothing of another one.
            elsewhere = {"ranks_per_node": cores, "file_system_mbs": Site().file_system_mbs}
            replace(site, **elsewhere).to_file(arguments.output)
            print("The file system's rate in it is made up: give --file-system-mbs to parnwb plan")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()

"""One recording, written by pynwb alone and by parnwb on 1 and 2 ranks, side by side in one run.

    python benchmarks/convert.py [--megabytes 700] [--channels 384] [--signal neuropixels|wideband] [--repeats 5]

Every figure is the median of interleaved runs of whole processes; what is timed is the writing itself, from opening
the file to its final name, with the recording in the page cache. Absolute figures are this machine's, the ratios
are what carries over.
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
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from measure import PeakMemory, median, table

from parnwb.demo import find_mpiexec, mpi_flags

MB = 1e6
TIMEOUT_SECONDS = 1200
CORES = 2
CHUNK = (78125, 64)  # what neuroconv and SpikeInterface choose for int16 electrophysiology
RATE = 30000.0


# -- the recordings --------------------------------------------------------------------------------------------


def make_neuropixels(folder: Path, megabytes: int, channels: int) -> Path:
    """Make a SpikeGLX recording: few bits of noise, as Neuropixels probes have."""
    from parnwb.made_recording import make_spikeglx_recording

    return make_spikeglx_recording(folder, megabytes=megabytes, channels=channels)


def make_wideband(folder: Path, megabytes: int, channels: int) -> Path:
    """Make a flat int16 file of 16-bit wideband signals: slow potentials of hundreds of bits, noise of tens."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"wideband-{channels}.bin"
    frames = int(megabytes * MB / 2 / channels)
    random = np.random.default_rng(0)
    level = np.zeros(channels)
    with path.open("wb") as file:
        for start in range(0, frames, 30000):
            count = min(30000, frames - start)
            slow = level * 0.97 + np.cumsum(random.normal(0, 4, (count, channels)), axis=0)
            level = slow[-1]
            file.write(np.round(slow + random.normal(0, 25, (count, channels))).astype("<i2").tobytes())
    return path


def open_nwbfile(recording: Path, channels: int) -> Any:
    """Return the NWBFile of a made recording, its data left in the file."""
    if recording.suffix != ".bin":
        from parnwb.interfaces import build_nwbfile

        # The sync channel is left out, so that both writers have one dataset to write.
        interface = next(recording.rglob("*.ap.bin"))
        return build_nwbfile(interface, metadata={"NWBFile": {"session_start_time": datetime.now(timezone.utc)}})
    from neuroconv.tools.hdmf import SliceableDataChunkIterator
    from pynwb import NWBFile, TimeSeries

    data = np.memmap(recording, dtype="<i2", mode="r").reshape(-1, channels)
    nwbfile = NWBFile(
        session_description="benchmark", identifier="benchmark", session_start_time=datetime.now(timezone.utc)
    )
    chunk = (min(CHUNK[0], len(data)), min(CHUNK[1], channels))
    iterator = SliceableDataChunkIterator(data=data, chunk_shape=chunk, buffer_gb=0.1)
    nwbfile.add_acquisition(TimeSeries(name="wideband", data=iterator, unit="V", rate=RATE))
    return nwbfile


# -- what runs in processes of its own ------------------------------------------------------------------------


def write_with_pynwb(recording: Path, output: Path, channels: int, options: dict[str, Any]) -> dict[str, Any]:
    """Write with NWBHDF5IO, the bulk data wrapped in H5DataIO with ``options``."""
    from pynwb import NWBHDF5IO, H5DataIO

    nwbfile = open_nwbfile(recording, channels)
    for series in nwbfile.acquisition.values():
        series.fields["data"] = H5DataIO(series.fields["data"], **options)
    with PeakMemory() as memory:
        began = time.perf_counter()
        with NWBHDF5IO(str(output), "w") as io:
            io.write(nwbfile)
        descriptor = os.open(output, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        seconds = time.perf_counter() - began
    return {"seconds": seconds, "bytes": output.stat().st_size, "memory": memory.peak}


def write_with_parnwb(recording: Path, output: Path, channels: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Write with NWBParallelIO; every rank runs this, the root's figures are returned."""
    from mpi4py import MPI

    from parnwb import NWBParallelIO

    comm = MPI.COMM_WORLD
    nwbfile = open_nwbfile(recording, channels) if comm.rank == 0 else None
    comm.Barrier()
    with PeakMemory() as memory:
        began = time.perf_counter()
        with NWBParallelIO(output, "w", comm=comm, overwrite=True, **settings) as io:
            io.write(nwbfile)
        seconds = time.perf_counter() - began
    peaks = comm.allgather(memory.peak)
    spec = max(io.written.plan.layout, key=lambda item: item.nbytes)
    coding = f"{spec.coder}{' + shuffle' if any(f.identifier == 2 for f in spec.filters) else ''}"
    return {"seconds": seconds, "bytes": output.stat().st_size, "memory": max(peaks), "coding": coding}


def encode_only(recording: Path, channels: int, coding: str, worker: int) -> tuple[float, int]:
    """Encode chunks from memory on one core, no input or output; return seconds and bytes."""
    from parnwb.codec import open_pipeline
    from parnwb.layout import DatasetSpec, FilterSpec

    name, _, shuffled = coding.partition(" + ")
    filters = (FilterSpec(2, (2,), "shuffle"),) if shuffled else ()
    frames = 3 * CHUNK[0]
    binary = recording if recording.suffix == ".bin" else next(recording.rglob("*.ap.bin"))
    columns = channels if recording.suffix == ".bin" else channels + (1 if channels == 384 else 4)
    data = np.memmap(binary, dtype="<i2", mode="r").reshape(-1, columns)[:frames, 64 * worker : 64 * worker + 64]
    pipeline_filters = (*filters, FilterSpec(1, (1,), "deflate"))
    spec = DatasetSpec("/x", data.shape, data.shape, "<i2", CHUNK, pipeline_filters, coder=name)
    chunks = [np.ascontiguousarray(data[i : i + CHUNK[0]]) for i in range(0, len(data) - CHUNK[0] + 1, CHUNK[0])]
    chunks = chunks or [np.resize(data, CHUNK)]
    pipeline = open_pipeline(spec)
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < 1.0:
        for chunk in chunks:
            pipeline.encode(chunk)
            done += chunk.nbytes
    return time.perf_counter() - began, done


# -- the runner ------------------------------------------------------------------------------------------------


def in_process(
    arguments: argparse.Namespace, recording: Path, writer: str, ranks: int, settings: dict[str, Any]
) -> Any:
    """Run one writer in processes of its own and return what it measured."""
    output = arguments.folder / f"{writer}-{ranks}.nwb"
    job = json.dumps([writer, str(recording), str(output), arguments.channels, settings])
    launch = [find_mpiexec(), *mpi_flags(find_mpiexec()), "-n", str(ranks)] if writer == "parnwb" else []
    command = [*launch, sys.executable, "-W", "ignore", __file__, "--job", job]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    output.unlink(missing_ok=True)
    if done.returncode:
        raise SystemExit(f"{writer} on {ranks} rank(s) failed:\n{done.stderr}")
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))


def run_job(job: str) -> None:
    """Run what ``in_process`` started."""
    writer, recording, output, channels, settings = json.loads(job)
    write = {"pynwb": write_with_pynwb, "parnwb": write_with_parnwb}[writer]
    result = write(Path(recording), Path(output), channels, settings)
    if int(os.environ.get("PMI_RANK", os.environ.get("OMPI_COMM_WORLD_RANK", "0"))) == 0:
        print(json.dumps(result), flush=True)


def codec_limit(recording: Path, channels: int, coding: str) -> float:
    """Return bytes per second that all cores encode together from memory."""
    with ProcessPoolExecutor(CORES) as pool:
        parts = list(pool.map(partial(encode_only, recording, channels, coding), range(CORES)))
    return sum(done / seconds for seconds, done in parts)


def compare(arguments: argparse.Namespace, recording: Path, raw: int) -> str:
    """Run everything in turn, several times, and return the table."""
    gzip4 = {"compression": "gzip", "compression_opts": 4}
    cases: dict[str, Callable[[], Any]] = {
        "pynwb, gzip-4": partial(in_process, arguments, recording, "pynwb", 1, gzip4),
        "parnwb, auto, 1 rank": partial(in_process, arguments, recording, "parnwb", 1, {"compression": "auto"}),
        "parnwb, auto, 2 ranks": partial(in_process, arguments, recording, "parnwb", 2, {"compression": "auto"}),
        "parnwb, gzip-4, 2 ranks": partial(in_process, arguments, recording, "parnwb", 2, {"compression": "gzip"}),
    }
    results: dict[str, list[Any]] = {name: [] for name in cases}
    limits: list[float] = []
    for _ in range(arguments.repeats):
        for name, run in cases.items():
            results[name].append(run())
        coding = results["parnwb, auto, 2 ranks"][-1]["coding"]
        limits.append(codec_limit(recording, arguments.channels, coding))
    reference = median([item["seconds"] for item in results["pynwb, gzip-4"]])
    size = results["pynwb, gzip-4"][0]["bytes"]
    rows = []
    for name, runs in results.items():
        seconds = median([item["seconds"] for item in runs])
        rows.append(
            [
                name + (f" ({runs[0]['coding']})" if "coding" in runs[0] else ""),
                f"{raw / MB / seconds:.0f}",
                f"{reference / seconds:.1f}",
                f"{runs[0]['bytes'] / MB:.1f}",
                f"{runs[0]['bytes'] / size:.3f}",
                f"{max(item['memory'] for item in runs) / MB:.0f}",
            ]
        )
    limit = median(limits)
    label = f"codec only, {CORES} cores ({coding})"
    rows.append([label, f"{limit / MB:.0f}", f"{limit * reference / raw:.1f}", "", "", ""])
    headings = ["writer", "MB/s", "times pynwb", "file MB", "size / pynwb's", "peak RssAnon MB a rank"]
    return table(headings, rows)


def main() -> None:
    """Parse, make the recording, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=700)
    parser.add_argument("--channels", type=int, default=384, choices=(384, 1536))
    parser.add_argument("--signal", default="neuropixels", choices=("neuropixels", "wideband"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None, help="where files go (default: memory, /dev/shm)")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        run_job(arguments.job)
        return
    parent = arguments.folder or (Path("/dev/shm") if Path("/dev/shm").is_dir() else None)
    arguments.folder = Path(tempfile.mkdtemp(prefix="parnwb-benchmark-", dir=parent))
    try:
        make = {"neuropixels": make_neuropixels, "wideband": make_wideband}[arguments.signal]
        recording = make(arguments.folder / "recording", arguments.megabytes, arguments.channels)
        raw = arguments.megabytes * 10**6
        print(
            f"{arguments.signal}, {arguments.channels} channels, {arguments.megabytes} MB, "
            f"median of {arguments.repeats} interleaved runs, files in {arguments.folder.parent}, "
            "fsync included, source in the page cache\n"
        )
        print(compare(arguments, recording, raw))
    finally:
        shutil.rmtree(arguments.folder, ignore_errors=True)


if __name__ == "__main__":
    main()

"""How fast a file gets other chunks and filters, against h5repack; and how fast links become contents, against pwrite.

    python benchmarks/repack.py [--megabytes 1000] [--ranks 2] [--repeats 5] [--folder FOLDER] [--cross]

The file is what neuroconv makes of a made Neuropixels recording: chunks of 78125 samples of 64 channels, gzip level 4,
chunked anew as 31250 by 64. h5repack is asked for gzip level 4, parnwb for ``auto``, which is gzip too and must not
make the file larger. The time is that of the whole command, with the launch of MPI, the import of Python and fsync,
which h5repack is given afterwards. Merging is measured in a running job, as are plain copies of the same bytes by the
same number of ranks.
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
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import h5py
import numpy as np
from launching import launcher
from measure import in_turn, make_safe, stored_bytes
from raw_copy import by_pwrite

from parnwb.recordings.made_recording import make_spikeglx_recording

OLD, NEW = (78125, 64), (31250, 64)
Way = Callable[[Path, Path, int], None]
EXPORT = """
import sys
from hdmf_zarr import NWBZarrIO
from pynwb import NWBHDF5IO
kinds = [NWBZarrIO if name.endswith(".zarr") else NWBHDF5IO for name in sys.argv[1:]]
with kinds[0](sys.argv[1], "r") as source, kinds[1](sys.argv[2], "w") as output:
    output.export(src_io=source, write_args={"link_data": False})
"""
DATA = "/acquisition/ElectricalSeries/data"


def make(path: Path, megabytes: float, ranks: int) -> None:
    """Write an NWB file of so many uncompressed MB."""
    run = make_spikeglx_recording(path.parent, megabytes=megabytes)
    program = [sys.executable, __file__, "--make", path, "--source", run, "--folder", path.parent]
    subprocess.run([*launcher(sys.executable, ranks), *program], check=True, timeout=1200)
    shutil.rmtree(run)


def write(source: Path, path: Path) -> None:
    """Run under mpiexec: write the recording as neuroconv would."""
    from mpi4py import MPI
    from pynwb import H5DataIO, NWBFile, TimeSeries

    from parnwb import NWBParallelIO

    binary = next(source.rglob("*.bin"))
    values = np.memmap(binary, dtype="<i2", mode="r").reshape(-1, 385)[:, :384]
    nwbfile = NWBFile("a recording", "id", datetime(2024, 1, 1, tzinfo=timezone.utc))
    data = H5DataIO(values, chunks=OLD, compression="gzip", compression_opts=4, maxshape=(None, 384))
    nwbfile.add_acquisition(TimeSeries(name="ElectricalSeries", data=data, unit="V", rate=30000.0))
    with NWBParallelIO(path, "w", comm=MPI.COMM_WORLD, progress=False, overwrite=True) as io:
        io.write(nwbfile)


def encoded_by_zlib(path: Path, output: Path) -> None:
    """Let h5repack code the file as zlib does, so that the source is nobody's."""
    shape = "x".join(map(str, OLD))
    coding = ["-l", f"{DATA[1:]}:CHUNK={shape}", "-f", f"{DATA[1:]}:GZIP=4"]
    subprocess.run(["h5repack", *coding, path, output], check=True)


def by_h5repack(source: Path, output: Path, ranks: int) -> None:
    shape = "x".join(map(str, NEW))
    subprocess.run(
        ["h5repack", "-l", f"{DATA[1:]}:CHUNK={shape}", "-f", f"{DATA[1:]}:GZIP=4", source, output], check=True
    )
    descriptor = os.open(output, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def by_parnwb(source: Path, output: Path, ranks: int) -> None:
    shape = "x".join(map(str, NEW))
    command = [sys.executable, "-m", "parnwb", "repack", source, output, "--quiet", "--dataset", DATA]
    command.append(f"chunks={shape},compression=auto")
    subprocess.run([*launcher(sys.executable, ranks), *command], check=True, timeout=1200)


def to_the_other_format(source: Path, output: Path, ranks: int) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "parnwb", "repack", source, output, "--quiet"]
    subprocess.run([*launcher(sys.executable, ranks), *command], check=True, timeout=1200)


def by_hdmf(source: Path, output: Path, ranks: int) -> None:
    """Let hdmf export a file in one process, as it does."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", EXPORT, source, output], check=True, timeout=1200)
    make_safe(output)


def in_processes(
    ways: Mapping[str, Way], source: Path, folder: Path, end: str, ranks: int, repeats: int
) -> dict[str, list[float]]:
    """Return the seconds of each way, in turn; what it has written last stays, as its name with this end."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            output = folder / f"{name}{end}"
            shutil.rmtree(output) if output.is_dir() else output.unlink(missing_ok=True)
            os.sync()
            began = time.perf_counter()
            way(source, output, ranks)
            seconds[name].append(time.perf_counter() - began)
    return seconds


def told(seconds: Mapping[str, list[float]], folder: Path, end: str) -> None:
    """Print a line for each way, relative to the first."""
    first = next(iter(seconds))
    for way, times in seconds.items():
        ratio = median(seconds[first]) / median(times)
        size = stored_bytes(folder / f"{way}{end}") / 1e6
        spread = f"({min(times):.2f} to {max(times):.2f})"
        print(f"{way:12} median {median(times):7.2f} s {spread}, {ratio:5.2f} x {first}, {size:.1f} MB")


def repacked(source: Path, folder: Path, ranks: int, repeats: int) -> None:
    """Measure and print both ways to repack."""
    ways = {"by_h5repack": by_h5repack, "by_parnwb": by_parnwb}
    seconds = in_processes(ways, source, folder, ".nwb", ranks, repeats)
    same = subprocess.run(["h5diff", folder / "by_h5repack.nwb", folder / "by_parnwb.nwb"], check=False).returncode == 0
    print(f"repack of {source.stat().st_size / 1e6:.0f} MB, {ranks} ranks, {repeats} times; h5diff: {same}")
    told(seconds, folder, ".nwb")


def crossed(source: Path, folder: Path, ranks: int, repeats: int) -> None:
    """Measure and print both ways from HDF5 to Zarr, and back."""
    ways = {"by_hdmf": by_hdmf, "across": to_the_other_format}
    for start, end in ((source, ".nwb.zarr"), (folder / "across.nwb.zarr", ".nwb")):
        seconds = in_processes(ways, start, folder, end, ranks, repeats)
        print(f"from {start.name} to {end}, {ranks} ranks against hdmf's export in one process, {repeats} times")
        told(seconds, folder, end)


def merge(master: Path, part: Path, folder: Path, repeats: int) -> None:
    """Run under mpiexec: print the seconds of merging and of copying, as JSON."""
    from mpi4py import MPI

    from parnwb.repacking import merge as by_merge

    comm = MPI.COMM_WORLD
    ways: dict[str, Any] = {
        "pwrite": lambda output: by_pwrite(part, output, comm),
        "merge": lambda output: by_merge(master, output, comm, progress=False, overwrite=True),
    }
    ways["merge"](folder / "warm.nwb")
    seconds = in_turn(ways, folder, repeats, comm)
    if comm.rank == 0:
        print(json.dumps(seconds))


def merged(source: Path, folder: Path, ranks: int, repeats: int) -> None:
    """Measure and print merging a file with one link to a large series."""
    master = folder / "master.nwb"
    with h5py.File(source, "r") as there, h5py.File(master, "w") as file:
        for name in there:
            if name != "acquisition":
                there.copy(name, file)
        file.create_group("acquisition")["ElectricalSeries"] = h5py.ExternalLink(
            source.name, "/acquisition/ElectricalSeries"
        )
    own = [sys.executable, __file__, "--merge", master, "--source", source, "--folder", folder]
    command = [*launcher(sys.executable, ranks), *own, "--repeats", str(repeats)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    if done.returncode:
        raise SystemExit(done.stderr)
    seconds = json.loads(done.stdout.splitlines()[-1])
    for way, times in seconds.items():
        middle, least = median(times) / median(seconds["pwrite"]), min(times) / min(seconds["pwrite"])
        shown = f"median {median(times):7.3f} s, {middle:5.2f} x pwrite; least {min(times):.3f} s, {least:5.2f} x"
        print(f"{way:12} {shown}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=1000, help="uncompressed")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--cross", action="store_true", help="from HDF5 to Zarr and back as well, beside hdmf")
    for name in ("--make", "--merge", "--source"):
        parser.add_argument(name, type=Path, default=None, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.make is not None:
        write(given.source, given.make)
        return
    if given.merge is not None:
        merge(given.merge, given.source, given.folder, given.repeats)
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        made, source = folder / "made.nwb", folder / "source.nwb"
        make(made, given.megabytes, given.ranks)
        encoded_by_zlib(made, source)
        made.unlink()
        repacked(source, folder, given.ranks, given.repeats)
        if given.cross:
            crossed(source, folder, given.ranks, given.repeats)
        merged(source, folder, given.ranks, given.repeats)


if __name__ == "__main__":
    main()

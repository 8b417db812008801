"""The runner: every case in turn on the same data, several times over; one line of JSON for each run.

    python benchmarks/run.py goals                      # the table of goals (`make bench`)
    python benchmarks/run.py peers --kinds imaging      # all writers, side by side
    python benchmarks/run.py strong weak --ranks 1 2 4  # scaling; more ranks than cores are allowed
    python benchmarks/run.py peers --recording DATA.ap.bin --metadata session.yaml
    python benchmarks/run.py smoke                      # everything, small, once: figures mean nothing

Each run is a process, or an MPI program, of its own. Runs alternate, and their order is reversed with every turn, so
that what the machine does meanwhile weighs on all alike. Lines go to a file in `bench-results/`, whence `summary.py`
makes tables, plots and a page; this program prints its tables at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import costs
import goals
import provenance
import summary
from cases import Case, select
from launching import TIMEOUT_SECONDS, launcher
from recordings import KINDS, Recording, given, make

ROOT = Path(__file__).parents[1]
SCALING = ("parnwb, auto", "parnwb, none", "codec only, auto", "pwrite, from memory", "parnwb mpio, none")
SMOKED = {  # of the kinds that do not go through all cases: some that differ from those of electrophysiology
    "wideband": ["parnwb, auto"],
    "imaging": ["parnwb, auto", "hdmf-zarr, its default codec"],
    "simulation": ["parnwb, none", "HDF5 collective, gzip-4 + shuffle"],
    "spikes": ["parnwb, auto", "pynwb, gzip-4", "pwrite, from memory"],
}
STUDIES = ("goals", "peers", "strong", "weak", "smoke")
SMOKE = {"megabytes": 12.0, "repeats": 1, "ranks": [1, 2]}


@dataclass(frozen=True)
class Run:
    """One run of one case.

    Parameters
    ----------
    study
        To which it belongs.
    case, recording, processes
        What is run.
    folder
        Where the output goes.
    """

    study: str
    case: Case
    recording: Recording
    processes: int
    folder: Path


# -- what belongs to a study -----------------------------------------------------------------------------------


def runs_of(study: str, arguments: argparse.Namespace, recordings: Recordings) -> Iterator[Run]:
    """Iterate over the runs of one turn of a study."""
    for folder in arguments.folders:
        if study == "weak":
            for ranks in arguments.ranks:
                for kind in arguments.kinds:
                    part = recordings.of(kind, arguments.megabytes * ranks)
                    yield from _cases(study, select(arguments.cases or SCALING), part, [ranks], folder)
            continue
        for kind in arguments.kinds:
            recording = recordings.of(kind, arguments.megabytes)
            if study == "strong":
                yield from _cases(study, select(arguments.cases or SCALING), recording, arguments.ranks, folder)
            elif study == "goals":
                chosen = {case.name for case in select(arguments.cases or ["*"])}
                for name, processes in goals.RUNS:
                    if name in chosen:
                        yield from _cases(study, select([name]), recording, [processes], folder)
            else:
                patterns = arguments.cases or (SMOKED.get(kind, ["*"]) if study == "smoke" else ["*"])
                yield from _cases(study, select(patterns), recording, [max(arguments.ranks)], folder)


def _cases(
    study: str, cases: Sequence[Case], recording: Recording, ranks: Sequence[int], folder: Path
) -> Iterator[Run]:
    for case in cases:
        if recording.kind in case.kinds:
            for processes in case.numbers(ranks):
                yield Run(study, case, recording, processes, folder)


class Recordings:
    """Makes each recording once; or has the one that was given."""

    def __init__(self, folder: Path, channels: int, own: Recording | None) -> None:
        self._folder, self._channels, self._own = folder, channels, own
        self._made: dict[tuple[str, float], Recording] = {}

    def of(self, kind: str, megabytes: float) -> Recording:
        """Return a recording of a kind and size."""
        if self._own is not None:
            return self._own
        key = (kind, megabytes)
        if key not in self._made:
            self._made[key] = make(kind, self._folder / f"{kind}-{megabytes:g}", megabytes, self._channels)
        return self._made[key]


# -- one run ---------------------------------------------------------------------------------------------------


def execute(run: Run, python: str) -> dict[str, Any]:
    """Run a case in processes of its own; return what it measured, or ``{'error': ...}``."""
    output = run.folder / "output.nwb"
    _remove(output)
    job = {
        "module": run.case.module,
        "launch": run.case.launch,
        "options": run.case.options,
        "processes": run.processes,
        "recording": run.recording.to_json(),
        "output": str(output),
    }
    launch = launcher(python, run.processes) if run.case.launch == "mpi" else []
    command = [*launch, python, "-W", "ignore", str(ROOT / "benchmarks" / "job.py"), json.dumps(job)]
    os.sync()  # what the run before has left to the disk is not this one's to wait for
    began = time.perf_counter()
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, env=environment(run), check=False
        )
    except subprocess.TimeoutExpired:
        return {"error": f"not ended after {TIMEOUT_SECONDS} s"}
    finally:
        size = output.exists()
        _remove(output)
    whole = time.perf_counter() - began
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        return {"error": (done.stderr or done.stdout).strip()[-2000:] or f"status {done.returncode}"}
    return {**json.loads(lines[-1]), "whole_seconds": whole, "left_a_file": size}


def environment(run: Run) -> dict[str, str]:
    """Return the environment of a run: one thread in each process for libraries that would take all cores."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    if run.processes > len(os.sched_getaffinity(0)):
        one["OMPI_MCA_mpi_yield_when_idle"] = "1"
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, **one}


def _remove(output: Path) -> None:
    for path in output.parent.glob(f"{output.name}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def line_of(run: Run, turn: int, result: dict[str, Any], fixed: dict[str, Any]) -> dict[str, Any]:
    """Return the line of JSON of one run: what was run, what was measured, and where that comes from."""
    return {
        "study": run.study,
        "case": run.case.name,
        "options": run.case.options,
        "processes": run.processes,
        "turn": turn,
        "recording": {**run.recording.to_json(), "path": "", "metadata": "", "raw_bytes": run.recording.raw_bytes},
        "folder": provenance.file_system(run.folder),
        **result,
        "provenance": whence(fixed),
    }


def whence(fixed: dict[str, Any]) -> dict[str, Any]:
    """Return where a line of JSON comes from, at this moment."""
    return {**fixed, "load": provenance.load(), "time": time.strftime("%Y-%m-%dT%H:%M:%S%z")}


# -- the program -----------------------------------------------------------------------------------------------


def measure(arguments: argparse.Namespace, recordings: Recordings) -> list[dict[str, Any]]:
    """Run all studies; write and return the lines."""
    fixed = {"machine": provenance.machine(), "revision": provenance.revision(), "fsync": provenance.FSYNC}
    fixed["source"] = "in the page cache"
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    with arguments.results.open("a") as file:
        for study in arguments.studies:
            runs = [run for run in runs_of(study, arguments, recordings) if python_of(run, arguments)]
            for turn in range(arguments.repeats):
                for run in runs if turn % 2 == 0 else reversed(runs):
                    result = execute(run, python_of(run, arguments))
                    lines.append(line_of(run, turn, result, fixed))
                    file.write(json.dumps(lines[-1]) + "\n")
                    file.flush()
                    said = result.get("error") or f"{result['seconds']:.2f} s"
                    where = f"{run.processes} x, {run.recording.kind}, {lines[-1]['folder']}"
                    print(f"  {study} {turn + 1}/{arguments.repeats}: {run.case.name} ({where}): {said}", flush=True)
                if study == "goals":
                    lines += write_costs(file, turn, arguments, fixed)
    return lines


def write_costs(file: TextIO, turn: int, arguments: argparse.Namespace, fixed: dict[str, Any]) -> list[dict[str, Any]]:
    """Measure what is spent whatever is written; write and return the lines, which have no recording."""
    lines = []
    for result in costs.measured(arguments.cases or ["*"], arguments.folders[0]):
        place = provenance.file_system(arguments.folders[0])
        lines.append({"study": "costs", "turn": turn, "folder": place, **result, "provenance": whence(fixed)})
        file.write(json.dumps(lines[-1]) + "\n")
        file.flush()
        said = result.get("error") or ", ".join(f"{v:.3g} {k}" for k, v in result.items() if isinstance(v, float))
        print(f"  costs {turn + 1}/{arguments.repeats}: {result['case']}: {said}", flush=True)
    return lines


def python_of(run: Run, arguments: argparse.Namespace) -> str:
    """Return the Python that runs a case; nothing where there is none that can."""
    return (arguments.mpio_python or "") if run.case.parallel_hdf5 else sys.executable


def has_parallel_hdf5(python: Path) -> bool:
    """Tell whether a Python has h5py on parallel HDF5."""
    if not python.exists():
        return False
    check = [str(python), "-c", "import h5py, sys; sys.exit(not h5py.get_config().mpi)"]
    return subprocess.run(check, capture_output=True, timeout=120, check=False).returncode == 0


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the arguments, completed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", choices=STUDIES)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, help="made recordings (goals: both of ephys; else all)")
    parser.add_argument("--recording", type=Path, help="any recording that neuroconv reads, instead of made ones")
    parser.add_argument("--metadata", type=Path, help="of --recording: YAML in neuroconv's format")
    parser.add_argument("--megabytes", type=float, default=500.0, help="of a made recording; weak: for each rank (500)")
    parser.add_argument("--channels", type=int, default=384, choices=(384, 1536), help="of made electrophysiology")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2], help="of scaling; peers take the largest (1 2)")
    parser.add_argument("--cases", nargs="+", help="patterns of names of cases (default: what belongs to the study)")
    parser.add_argument("--folders", type=Path, nargs="+", help="where outputs go: memory, disks (default: /dev/shm)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--mpio-python", type=Path, default=ROOT / ".venv-mpio" / "bin" / "python", metavar="PYTHON")
    parser.add_argument("--results", type=Path, help="file of lines to append to (default: bench-results/TIME.jsonl)")
    arguments = parser.parse_args(words)
    if "smoke" in arguments.studies:
        vars(arguments).update(SMOKE)
    if arguments.recording:
        arguments.kinds = ["given"]
    elif not arguments.kinds:
        arguments.kinds = list(KINDS[:2] if set(arguments.studies) <= {"goals"} else KINDS)
    if not arguments.folders:
        arguments.folders = [Path("/dev/shm") if Path("/dev/shm").is_dir() else Path()]
    name = time.strftime("%Y%m%d-%H%M%S.jsonl")
    arguments.results = arguments.results or ROOT / "bench-results" / name
    arguments.mpio_python = str(arguments.mpio_python) if has_parallel_hdf5(arguments.mpio_python) else None
    return arguments


def main() -> int:
    """Parse, make the recordings, measure, print; return 1 if any run has failed."""
    arguments = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # through `finally`: memory is given back
    if arguments.mpio_python is None:
        print("no h5py on parallel HDF5 (--mpio-python): cases that need it are left out\n")
    own = given(arguments.recording, arguments.metadata) if arguments.recording else None
    parents, arguments.folders = arguments.folders, []
    try:
        for parent in parents:
            arguments.folders.append(Path(tempfile.mkdtemp(prefix="parnwb-benchmark-", dir=parent)))
        recordings = Recordings(arguments.folders[0] / "recordings", arguments.channels, own)
        lines = measure(arguments, recordings)
    finally:
        for folder in arguments.folders:
            shutil.rmtree(folder, ignore_errors=True)
    print("\n" + summary.text(lines))
    if "goals" in arguments.studies:
        print("\n" + goals.table_of(lines))
    print(f"\nlines: {arguments.results}\npage:  python benchmarks/summary.py {arguments.results}")
    return int(any("error" in line for line in lines))


if __name__ == "__main__":
    sys.exit(main())

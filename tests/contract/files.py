"""The files of one environment, written when they are first asked for."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pynwb
import pytest
from contract.cases import CASES, TYPES, build
from contract.compare import Snapshot, snapshot
from contract.inputs import prepare
from contract.roads import FULL, UNREGISTERED_RANKS, Road
from mpi_launch import run_mpi

LAUNCH_TIMEOUT = 500 if FULL else 400


class Files:
    """The files of some cases: pynwb's, and those of one launch for each rank count.

    Parameters
    ----------
    folder
        Where they are.
    what
        ``'cases'`` or ``'types'``.
    """

    def __init__(self, folder: Path, what: str) -> None:
        self.folder, self._what = folder, what
        self.inputs = folder / "inputs"
        self.inputs.mkdir()
        prepare(self.inputs)
        self._launched: dict[int, Path | AssertionError] = {}
        self._expected: dict[str, Snapshot] = {}

    def expected(self, case: str) -> Snapshot:
        """Return what pynwb writes for a case."""
        if case not in self._expected:
            self._expected[case] = snapshot(self._write_by_pynwb(case))
        return self._expected[case]

    def _write_by_pynwb(self, case: str) -> Path:
        # As deep as the files of the launches: relative links must lead to the same place from both.
        path = self.folder / "pynwb" / "alone" / f"{case}.nwb"
        path.parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file = build(case, self.inputs, expected=True)
            with pynwb.NWBHDF5IO(path, "w") as io:
                io.write(file, **(CASES | TYPES)[case].arguments)
        return path

    def written(self, case: str, road: Road, ranks: int) -> Path:
        """Return the file that parnwb wrote for a case."""
        return self._whole(self._outputs(ranks) / str(road) / f"{case}.nwb")

    def unregistered(self, given: str) -> Path:
        """Return the file of an extension that pynwb did not know, which was given as a manager, for one."""
        return self._whole(self._outputs(UNREGISTERED_RANKS) / f"{given}.nwb")

    def _whole(self, path: Path) -> Path:
        failed = path.with_suffix(".failed")
        if failed.exists():
            pytest.fail(failed.read_text(), pytrace=False)
        assert not path.with_name(f"{path.name}.partial").exists()
        return path

    def failure(self, case: str, road: Road, ranks: int) -> str:
        """Return why parnwb did not write a case; nothing may be left of it."""
        path = self._outputs(ranks) / str(road) / f"{case}.nwb"
        assert not path.exists() and not path.with_name(f"{path.name}.partial").exists()
        return path.with_suffix(".failed").read_text()

    def _outputs(self, ranks: int) -> Path:
        if ranks not in self._launched:
            self._launched[ranks] = self._launch(ranks)
        outputs = self._launched[ranks]
        if isinstance(outputs, AssertionError):
            pytest.fail(str(outputs), pytrace=False)
        return outputs

    def _launch(self, ranks: int) -> Path | AssertionError:
        outputs = self.folder / f"{ranks}-ranks"
        program = Path(__file__).with_name("program.py")
        argv = [sys.executable, program, self.inputs, outputs, self._what]
        try:
            done = run_mpi(ranks, argv, timeout=LAUNCH_TIMEOUT)
            assert done.returncode == 0, f"{' '.join(done.args)}\n{done.stdout[-500:]}\n{done.stderr[-5000:]}"
        except AssertionError as error:
            return error
        return outputs

"""Run under mpiexec in a folder with its inputs: all examples of docs/external-files.md. Argument: that page."""

from __future__ import annotations

import re
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from failure.faults.material import START
from pynwb import NWBFile
from pynwb.file import Subject


def session() -> NWBFile:
    """Return a new NWBFile, as those of the examples."""
    nwbfile = NWBFile(session_description="one", identifier="id", session_start_time=START)
    nwbfile.subject = Subject(subject_id="one", species="Mus musculus", age="P90D", sex="F")
    return nwbfile


def examples(page: Path) -> tuple[str, dict[str, str]]:
    """Return the imports of the page, and its examples by anchor."""
    text = page.read_text()
    prelude = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert prelude is not None
    sections = re.findall(r"^### (.+?)\n(.*?)(?=^##|\Z)", text, re.DOTALL | re.MULTILINE)
    blocks = {
        title.lower().replace(" ", "-"): "\n".join(re.findall(r"```python\n(.*?)```", body, re.DOTALL))
        for title, body in sections
    }
    return prelude.group(1), blocks


def main(page: Path) -> None:
    from mpi4py import MPI

    prelude, blocks = examples(page)
    names: dict[str, Any] = {"session": session}
    exec(prelude, names)
    for title, code in blocks.items():
        if MPI.COMM_WORLD.rank == 0:
            print(title, flush=True)
        try:
            exec(code, names)
        except Exception:
            Path(f"{title}.failed").write_text(traceback.format_exc())
    if MPI.COMM_WORLD.rank == 0:
        for name in ("verdict", "linked"):
            said = names[name]
            findings = [str(item) for item in said.findings]
            Path(f"{name}.txt").write_text("\n".join([str(said.ok), *findings]))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]))

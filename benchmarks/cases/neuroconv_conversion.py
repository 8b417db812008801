"""neuroconv's own ``run_conversion``, with the compression that it chooses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from measure import Measurement, make_safe, stored_bytes
from recordings import VENDOR

from cases import Case, Task

CASES = (Case("neuroconv, run_conversion", kinds=VENDOR),)


def write(task: Task, comm: None) -> dict[str, Any]:
    """Open the recording and convert it."""
    import yaml
    from neuroconv.utils import dict_deep_update

    from parnwb.recordings.interfaces import open_interface

    recording = task.recording
    with Measurement() as measured:
        interface = open_interface(recording.path)
        metadata = interface.get_metadata()
        if recording.metadata:
            metadata = dict_deep_update(metadata, yaml.safe_load(Path(recording.metadata).read_text()))
        interface.run_conversion(nwbfile_path=task.output, metadata=metadata, overwrite=True)
        make_safe(task.output)
    return measured.result(stored_bytes=stored_bytes(task.output))

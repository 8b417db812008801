"""All that ``pynwb.testing.mock`` makes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any
from unittest.mock import patch

import pynwb.testing.mock
from hdmf.common import DynamicTableRegion
from pynwb import NWBFile
from pynwb.testing.mock import ecephys, ophys
from pynwb.testing.mock.utils import name_generator_registry

# The file is there already; it has one table of electrodes, which the others share.
APART = ("mock_NWBFile", "mock_ElectrodeTable", "mock_ElectrodesTable", "mock_electrodes", "mock_ElectrodeGroup")


def mock_functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Iterate over ``(name, function)`` of every mock there is, in the order of their names."""
    found: dict[str, Callable[..., Any]] = {}
    for module in iter_modules(pynwb.testing.mock.__path__):
        members = vars(import_module(f"pynwb.testing.mock.{module.name}"))
        found.update({name: item for name, item in members.items() if name.startswith("mock_") and callable(item)})
    yield from sorted(found.items())


def mocks(file: NWBFile, inputs: Path) -> None:
    """One object of each mock, and what it needs; the file's own where there can be one only."""
    with patch.dict(name_generator_registry, clear=True):
        region = _electrodes(file)
        for name, function in mock_functions():
            if name in APART:
                continue
            parameters = inspect.signature(function).parameters
            own = {"electrodes": region} if "electrodes" in parameters else {}
            function(nwbfile=file, **own)
        for kind in ("pixel_mask", "voxel_mask"):
            ophys.mock_PlaneSegmentation(mask_type=kind, nwbfile=file)


def _electrodes(file: NWBFile) -> DynamicTableRegion:
    group = ecephys.mock_ElectrodeGroup(nwbfile=file)
    file.electrodes = ecephys.mock_ElectrodesTable(group=group)
    return ecephys.mock_electrodes(table=file.electrodes)

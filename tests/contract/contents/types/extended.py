"""All types of the extension in ``contract.schema``, by the classes that pynwb makes from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from contract.inputs import values
from contract.schema import NAMESPACE, SCHEMA
from hdmf.build import BuildManager, TypeMap
from pynwb import H5DataIO, NWBFile, available_namespaces, get_class, get_type_map, load_namespaces


def register(inputs: Path) -> None:
    """Let pynwb know the extension, as its package does when it is imported."""
    if NAMESPACE not in available_namespaces():
        load_namespaces(str(inputs / SCHEMA))
    for name in ("TetrodeSeries", "ContractMetaData", "PoseTable", "CodedEvents"):
        get_class(name, NAMESPACE)  # a manager knows the classes that there are when it is made


def extension(file: NWBFile, inputs: Path) -> None:
    """All of the extension, registered with pynwb."""
    register(inputs)
    _fill(file, lambda name: get_class(name, NAMESPACE))


def types_of(inputs: Path) -> TypeMap:
    """Return a type map with the extension, which pynwb's own does not get to know."""
    types = get_type_map()
    types.load_namespaces(str(inputs / SCHEMA))
    return types


# As what ``NWBParallelIO`` is given the extension.
GIVEN: dict[str, Callable[[TypeMap], dict[str, Any]]] = {
    "manager": lambda types: {"manager": BuildManager(types)},
    "extensions": lambda types: {"extensions": types},
    "list": lambda types: {"extensions": [types]},
}


def unregistered(types: TypeMap) -> Any:
    """Return a content whose classes are those of ``types``."""
    return lambda file, inputs: _fill(file, lambda name: types.get_dt_container_cls(name, NAMESPACE))


def _fill(file: NWBFile, kind: Any) -> None:
    first, second = (
        kind("TetrodeSeries")(
            name=name,
            data=values((90, 4)),
            unit="V",
            rate=10.0,
            trode_id=7,
            weights=[0.5] * 4,
            quality=quality,
            remarks=["é"] * 90,
        )
        for name, quality in (("first", values((90,), "u1")), ("second", [n % 5 for n in range(90)]))
    )
    second.reference = first
    file.add_acquisition(first)
    file.add_acquisition(second)
    file.add_lab_meta_data(kind("ContractMetaData")(name="room", room="é1", temperatures=[20.5] * 40))
    table = kind("PoseTable")(name="poses", description="poses")
    for number in range(40):
        table.add_row(angle=0.5 * number)
    file.add_analysis(table)
    events = np.zeros(120, [("when", "f8"), ("code", "u2")])
    events["when"], events["code"] = np.arange(120) / 3, np.arange(120) % 9
    module = file.create_processing_module("events", "coded")
    module.add(kind("CodedEvents")(name="array", codes=H5DataIO(events, compression="gzip", chunks=(25,))))
    module.add(kind("CodedEvents")(name="bare", codes=events[:30]))

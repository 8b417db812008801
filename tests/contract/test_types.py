"""Every neurodata type that pynwb writes is written by many ranks, and docs/types.md tells them all.

Each rank count is one launch, as in ``test_contract``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pynwb
import pytest
from contract.cases import TYPES, filled
from contract.catalogue import bulk_paths, filled_by_type, rows, types_in
from contract.compare import Allowed, Snapshot, differences, snapshot
from contract.contents.types.extended import GIVEN, SCHEMA, register, types_of, unregistered
from contract.contents.types.mocks import mock_functions
from contract.files import Files
from contract.roads import TYPE_RANKS, Road, type_roads
from hdmf.build import BuildManager
from hdmf.testing import TestCase as Comparison
from pynwb import NWBHDF5IO, get_class

from parnwb import NWBParallelIO
from parnwb.errors import ParnwbError
from parnwb.site import parallel_hdf5

pytestmark = [pytest.mark.mpi_skip, pytest.mark.usefixtures("own_type_map"), pytest.mark.filterwarnings("ignore")]

WRITTEN = [
    pytest.param(case, road, ranks, id=f"{case}-{road}-{'everywhere' if everywhere else 'root'}-{ranks}-ranks")
    for ranks in TYPE_RANKS
    for number, case in enumerate(TYPES)
    for road, everywhere in type_roads(number, ranks, parallel_hdf5=parallel_hdf5()).items()
]
# Bases of others, which no object is of itself, or which an NWBFile has no place for.
WITHOUT_OBJECTS = {
    "BaseImage", "CSRMatrix", "Container", "Image", "LabMetaData", "NWBContainer", "NWBData",
    "NWBDataInterface", "SimpleMultiContainer",
}  # fmt: skip


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Files:
    files = Files(tmp_path_factory.mktemp("types"), "types")
    register(files.inputs)
    get_class("ImagingRetinotopy", "core")
    return files


@pytest.mark.parametrize("case, road, ranks", WRITTEN)
def test_file_is_the_one_that_pynwb_writes(contract: Files, case: str, road: Road, ranks: int) -> None:
    found = snapshot(contract.written(case, road, ranks))
    different = differences(contract.expected(case), found, Allowed.of(road.backend))
    assert not different, "\n".join(different)


@pytest.mark.parametrize("case", TYPES)
def test_pynwb_reads_the_same_objects_from_it(contract: Files, case: str) -> None:
    contract.expected(case)
    number = list(TYPES).index(case)
    road = list(type_roads(number, 4, parallel_hdf5=parallel_hdf5()))[-1 - number % 2]
    path = contract.written(case, road, 4)
    assert pynwb.validate(path=path) == []
    with NWBHDF5IO(path, "r") as ours, NWBHDF5IO(contract.folder / "pynwb" / "alone" / f"{case}.nwb", "r") as theirs:
        Comparison().assertContainerEqual(ours.read(), theirs.read(), ignore_hdmf_attrs=True)


# -- docs/types.md -------------------------------------------------------------------------------------------


def test_the_table_has_every_type_of_pynwb() -> None:
    catalog = pynwb.get_manager().namespace_catalog
    known = set(catalog.get_namespace("core").get_registered_types()) | {"EnumData"}
    told = [row.name for row in rows("Types")]
    never = [row.name for row in rows("Types that pynwb 4 does not make")]
    assert sorted(told) == sorted(set(told))
    assert set(told) | set(never) == known - WITHOUT_OBJECTS


def test_the_table_has_every_mock() -> None:
    told = {row.name for row in rows("Types")}
    made = {name.removeprefix("mock_") for name, _ in mock_functions()} - {"electrodes", "ElectrodeTable"}
    assert made <= told


@pytest.mark.parametrize("name", [row.name for row in rows("Types that pynwb 4 does not make")])
def test_types_that_are_said_not_to_be_made_are_not(name: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        get_class(name, "core")()


def test_cases_hold_what_the_table_says(contract: Files) -> None:
    types = {case: types_in(contract.expected(case)) for case in TYPES}
    filled = {case: filled_by_type(types[case], bulk_paths(case, contract.inputs)) for case in TYPES}
    for row in rows("Types"):
        everywhere = set().union(*(filled[case].get(row.name, set()) for case in TYPES))
        assert row.cases, row
        for case in row.cases:
            assert row.name in types[case].values(), f"{row.name} is not in case {case}"
        if row.name != "DynamicTable":  # whose columns have any names
            assert row.filled == everywhere, row.name


# -- extensions ----------------------------------------------------------------------------------------------


@contextmanager
def silent() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="module")
def extended(contract: Files) -> Snapshot:
    """Return what pynwb writes of an extension that it was given as a manager."""
    types, path = types_of(contract.inputs), contract.folder / "extended.nwb"
    with silent(), NWBHDF5IO(path, "w", manager=BuildManager(types)) as io:
        io.write(filled(unregistered(types), "extension", contract.inputs))
    return snapshot(path)


@pytest.mark.parametrize("given", GIVEN)
def test_types_that_pynwb_does_not_know_are_given_as_a_manager_or_as_extensions(
    contract: Files, extended: Snapshot, tmp_path: Path, given: str
) -> None:
    types = types_of(contract.inputs)
    settings = {"progress": False, "bulk_threshold": 0, **GIVEN[given](types)}
    with silent(), NWBParallelIO(tmp_path / "parnwb.nwb", "w", **settings) as io:
        io.write(filled(unregistered(types), "extension", contract.inputs))
    different = differences(extended, snapshot(tmp_path / "parnwb.nwb"), Allowed())
    assert not different, "\n".join(different)


@pytest.mark.parametrize("given", GIVEN)
def test_several_ranks_are_given_them_in_the_same_way(contract: Files, extended: Snapshot, given: str) -> None:
    different = differences(extended, snapshot(contract.unregistered(given)), Allowed())
    assert not different, "\n".join(different)


def test_the_path_of_a_namespace_lets_a_file_without_cached_specs_be_read(contract: Files, tmp_path: Path) -> None:
    types = types_of(contract.inputs)
    path = tmp_path / "without.nwb"
    with silent(), NWBHDF5IO(path, "w", manager=BuildManager(types)) as io:
        io.write(filled(unregistered(types), "extension", contract.inputs), cache_spec=False)
    with silent(), NWBParallelIO(path, "a", progress=False, extensions=str(contract.inputs / SCHEMA)) as io:
        assert io.read().acquisition["first"].trode_id == 7


def test_manager_and_extensions_together_are_refused(contract: Files, tmp_path: Path) -> None:
    with pytest.raises(ParnwbError, match="manager and extensions cannot both be given"):
        NWBParallelIO(tmp_path / "out.nwb", manager=pynwb.get_manager(), extensions=str(contract.inputs / SCHEMA))


@pytest.mark.parametrize("extension, message", [(5, "got int"), ("missing.namespace.yaml", "cannot be loaded")])
def test_what_is_no_extension_is_refused(tmp_path: Path, extension: object, message: str) -> None:
    with pytest.raises(ParnwbError, match=message):
        NWBParallelIO(tmp_path / "out.nwb", extensions=extension)
    assert list(tmp_path.iterdir()) == []

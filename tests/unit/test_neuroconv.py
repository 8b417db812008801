"""What run_conversion and the YAML specification refuse, warn of and name; files are compared in tests/contract."""

from __future__ import annotations

import re
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from parnwb.errors import ParnwbError, SourceError, TargetError
from parnwb.neuroconv import run_conversion, run_conversion_from_yaml
from parnwb.neuroconv.specification import read_specification

neuroconv = pytest.importorskip("neuroconv", reason='needs the extra "convert"')
pytest.importorskip("neuroconv.datainterfaces")

METADATA: dict[str, Any] = {"NWBFile": {"session_start_time": "2024-03-05T10:15:30+01:00"}}
DATA = "acquisition/ElectricalSeriesAP/data"


@pytest.fixture
def converter(spikeglx_run: Path) -> Any:
    """Return a converter of one interface."""
    folder = next(spikeglx_run.rglob("*.bin")).parent
    interface = neuroconv.datainterfaces.SpikeGLXRecordingInterface(folder_path=folder, stream_id="imec0.ap")
    return neuroconv.ConverterPipe({"AP": interface})


def metadata_of(converter: Any) -> Any:
    return neuroconv.utils.dict_deep_update(converter.get_metadata(), METADATA)


# -- run_conversion ----------------------------------------------------------------------------------------------------

REFUSED = {
    "zarr": ({"backend": "zarr"}, r"'hdf5' or None, got 'zarr'.*Write parallel_backend='zarr'"),
    "zarr_configuration": ({"backend_configuration": types.SimpleNamespace(backend="zarr")}, "parnwb writes HDF5"),
    "parnwbs_backend": ({"backend": "direct"}, r"backend is neuroconv's.*parallel_backend='direct'"),
    "unknown_keyword": ({"bufer_mb": 3}, r"no keyword 'bufer_mb'.*Did you mean buffer_mb"),
    "options_of_an_interface": ({"stub_test": True}, "no keyword 'stub_test'"),
    "append_and_resume": ({"append_on_disk_nwbfile": True, "resume": True}, "append_on_disk_nwbfile goes without"),
    "append_to_nothing": ({"append_on_disk_nwbfile": True}, "needs a file that exists"),
    "configuration_of_what_is_not_new": (
        {"append_on_disk_nwbfile": True, "backend_configuration": types.SimpleNamespace(backend="hdf5")},
        "describes a new file",
    ),
    "metadata": ({"metadata": {"NWBFile": {"keywords": 3}}}, "neuroconv refuses metadata or options"),
    "conversion_options": ({"conversion_options": {"AP": {"stub": 1}}}, "neuroconv refuses metadata or options"),
    "compression": ({"compression": "fast"}, "compression must be"),
    "parallel_backend": ({"parallel_backend": "hdf5"}, "backend"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_is_refused(converter: Any, tmp_path: Path, case: str) -> None:
    given, says = REFUSED[case]
    with pytest.raises(ParnwbError, match=says):
        run_conversion(converter, tmp_path / "out.nwb", **{"metadata": metadata_of(converter), **given})
    assert not list(tmp_path.iterdir())


def test_other_objects_are_refused(converter: Any, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="takes a data interface or converter, got dict"):
        run_conversion({}, tmp_path / "out.nwb")
    with pytest.raises(SourceError, match="can be None only where"):
        run_conversion(None, tmp_path / "out.nwb")

    class Own(type(converter)):  # type: ignore[misc]
        def run_conversion(self) -> None: ...

    with pytest.raises(SourceError, match="Own has a run_conversion of its own"):
        run_conversion(Own(converter.data_interface_objects), tmp_path / "out.nwb")


def test_a_file_that_exists_is_replaced_when_asked_for(converter: Any, tmp_path: Path) -> None:
    path = tmp_path / "out.nwb"
    made = run_conversion(converter, path, metadata=metadata_of(converter), progress=False)
    assert made.path == path and made.raw_bytes > 5e6
    before = path.read_bytes()
    with pytest.raises(TargetError, match="overwrite"):
        run_conversion(converter, path, metadata=metadata_of(converter))
    assert path.read_bytes() == before
    run_conversion(converter, path, metadata=metadata_of(converter), overwrite=True, compression="auto", progress=False)
    with h5py.File(path) as new:
        assert new[DATA].compression == "gzip" and new[DATA].chunks[1] == 64


def test_interfaces_are_aligned_once(spikeglx_run: Path, converter: Any, tmp_path: Path) -> None:
    calls = []

    class Aligned(neuroconv.ConverterPipe):  # type: ignore[misc,name-defined]
        def temporally_align_data_interfaces(self, metadata: Any = None, conversion_options: Any = None) -> None:
            calls.append(metadata["NWBFile"]["session_start_time"])
            self.data_interface_objects["AP"].set_aligned_starting_time(4.0)

    aligned = Aligned(converter.data_interface_objects)
    run_conversion(aligned, tmp_path / "out.nwb", metadata=metadata_of(converter), progress=False)
    with h5py.File(tmp_path / "out.nwb") as file:
        assert file["acquisition/ElectricalSeriesAP/starting_time"][()] == 4.0
    assert calls == [METADATA["NWBFile"]["session_start_time"]]


# -- the specification -------------------------------------------------------------------------------------------------


def specification(**changes: Any) -> dict[str, Any]:
    start = {"NWBFile": {"session_start_time": "2024-03-05T10:15:30+01:00"}, "Subject": {"subject_id": "m_1"}}
    session = {"source_data": {"Trials": {"file_path": "trials.csv"}}, "metadata": start}
    return {
        "data_interfaces": {"Trials": "CsvTimeIntervalsInterface"},
        "experiments": {"day": {"sessions": [session]}},
        **changes,
    }


@pytest.fixture
def written(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    """Return a function that writes a specification, beside the source data that it names."""
    import yaml

    def write(content: dict[str, Any]) -> Path:
        (tmp_path / "trials.csv").write_text("start_time,stop_time,side\n0.1,0.2,left\n0.3,0.4,right\n")
        path = tmp_path / "spec.yml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write


Written = Callable[[dict[str, Any]], Path]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"upload_to_dandiset": "200560"}, "does not upload.*upload_to_dandiset.*dandi upload"),
        ({"experimnts": {}}, "must follow neuroconv's schema.*experimnts"),
        ({"experiments": {"day": {}}}, r"'sessions' is a required property.*experiments\.day"),
        ({"experiments": {"day": {"sessions": [{}]}}}, r"'source_data' is a required.*sessions\[0\]"),
        ({"metadata": {"NWBFile": {"lab": 3}}}, r"3 is not of type 'string'.*metadata\.NWBFile\.lab"),
        ({"data_interfaces": {"Trials": "CsvTimeIntervalInterface"}}, "Did you mean CsvTimeIntervalsInterface"),
    ],
)
def test_specifications_that_cannot_be_converted(written: Written, changes: dict[str, Any], says: str) -> None:
    path = written(specification(**changes))
    before = set(path.parent.iterdir())
    with pytest.raises(SourceError, match=says):
        run_conversion_from_yaml(path)
    assert set(path.parent.iterdir()) == before


def test_python_objects_in_yaml_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "spec.yml"
    path.write_text(f"experiments: !!python/object/apply:os.system ['touch {tmp_path / 'evil'}']\n")
    with pytest.raises(SourceError, match="readable YAML"):
        run_conversion_from_yaml(path)
    assert not (tmp_path / "evil").exists()


def test_names_of_files(written: Written, tmp_path: Path) -> None:
    content = specification()
    (session,) = content["experiments"]["day"]["sessions"]
    named = {**session, "nwbfile_name": "named.nwb"}
    with_id = {**session, "metadata": {**session["metadata"], "NWBFile": {**METADATA["NWBFile"], "session_id": "a/b"}}}
    content["experiments"]["day"]["sessions"] = [session, named, with_id]
    made = run_conversion_from_yaml(written(content), output_folder_path=tmp_path / "out", progress=False)
    names = ["sub-m-1_ses-20240305T101530.nwb", "named.nwb", "sub-m-1_ses-a-b.nwb"]
    assert [one.path.name for one in made] == names
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(names)


def test_two_sessions_of_one_name(written: Written) -> None:
    content = specification()
    (session,) = content["experiments"]["day"]["sessions"]
    content["experiments"]["day"]["sessions"] = [{**session, "nwbfile_name": name} for name in ("a", "a.nwb")]
    with pytest.raises(SourceError, match="two have the nwbfile_name 'a.nwb'"):
        read_specification(written(content))
    content["experiments"]["day"]["sessions"] = [session, session]
    with pytest.raises(SourceError, match="another one has made sub-m-1.*|experiment day, session 2"):
        run_conversion_from_yaml(written(content), progress=False)


def test_a_session_that_cannot_be_named(written: Written) -> None:
    content = specification()
    del content["experiments"]["day"]["sessions"][0]["metadata"]["Subject"]
    with pytest.raises(SourceError, match=r"no Subject: subject_id.*experiment day, session 1.*nwbfile_name"):
        run_conversion_from_yaml(written(content))


def test_finished_sessions_stay_when_a_job_goes_on(written: Written, tmp_path: Path) -> None:
    path = written(specification())
    (made,) = run_conversion_from_yaml(path, progress=False)
    before = made.path.stat()
    with pytest.raises(TargetError, match="overwrite"):
        run_conversion_from_yaml(path, progress=False)
    with pytest.warns(UserWarning, match=re.escape(f"{made.path} was finished by an earlier job")):
        assert run_conversion_from_yaml(path, resume=True, progress=False) == []
    assert made.path.stat() == before
    assert len(run_conversion_from_yaml(path, overwrite=True, progress=False)) == 1
    assert made.path.stat() != before


def test_what_no_interface_reads_is_told(written: Written) -> None:
    content = specification()
    (session,) = content["experiments"]["day"]["sessions"]
    session["source_data"]["Trails"] = {"file_path": "trials.csv"}
    with pytest.warns(UserWarning, match="section 'Trails' of the source_data. Did you mean Trials"):
        (opened,) = read_specification(written(content))
        assert list(opened.open().data_interface_objects) == ["Trials"]


def test_metadata_of_all_three_levels_are_merged(written: Written) -> None:
    content = specification(metadata={"NWBFile": {"lab": "all", "institution": "all"}})
    content["experiments"]["day"]["metadata"] = {"NWBFile": {"lab": "day", "protocol": "day"}}
    (session,) = read_specification(written(content))
    merged = session.merged_metadata(session.open())["NWBFile"]
    assert (merged["lab"], merged["institution"], merged["protocol"]) == ("day", "all", "day")
    assert merged["session_start_time"] == METADATA["NWBFile"]["session_start_time"]


def test_values_come_from_the_table(written: Written) -> None:
    (made,) = run_conversion_from_yaml(written(specification()), progress=False)
    with h5py.File(made.path) as file:
        assert np.array_equal(file["intervals/trials/start_time"], [0.1, 0.3])

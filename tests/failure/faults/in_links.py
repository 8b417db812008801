"""Faults in what is linked to: it is not what the container says of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from failure.faults.fault import Place, fault
from failure.faults.linking import (
    COLUMNS,
    ROWS,
    WHERE,
    Content,
    linking,
    other,
    prepare,
    raw,
    reaches,
    read_back,
    register,
)
from failure.faults.material import session, values
from pynwb import NWBHDF5IO, H5DataIO, NWBFile, TimeSeries, get_manager
from pynwb.ecephys import ElectricalSeries

SAID = ("must be what the container says", "on_mismatch='copy'")

# -- attributes ----------------------------------------------------------------------------------------------

for _name, _asked, _found in (
    ("unit", "mA", "V"),
    ("conversion", 5.0, 2.0),
    ("resolution", 0.5, -1.0),
    ("offset", 1.0, 0.0),
):
    register(
        _name,
        lambda folder, said=(_name, _asked): linking(raw(folder), **dict([said])),
        read_back(_name),
        _found,
        f"{WHERE}raw.h5:/data: {_name} is '?{_asked}'? in the container, '?{_found}'? there",
        *SAID,
    )

register(
    "unit_is_missing",
    lambda folder: linking(raw(folder, "bare"), conversion=1.0),
    read_back("unit"),
    "unknown",
    f"{WHERE}: unit is 'V' in the container, missing there",
)
register(
    "conversion_is_missing",
    lambda folder: linking(raw(folder, "bare")),
    read_back("conversion"),
    1.0,
    "conversion is 2.0 in the container, missing there",
)
register(
    "unit_of_what_is_wrapped",
    lambda folder: linking(H5DataIO(raw(folder), link_data=True), unit="mA"),
    read_back("unit"),
    "V",
    "unit is 'mA' in the container, 'V' there",
)
register(
    "type_of_timestamps",
    lambda folder: linking(raw(folder), timestamps=raw(folder, "short_times")),
    read_back("timestamps"),
    "float32",
    "timestamps -> .*: dtype is float64 in the container, float32 there",
)
register(
    "dimensions",
    lambda folder: linking(raw(folder, "labelled")),
    lambda path: [axis.label for axis in h5py.File(path)["/acquisition/linked/data"].dims],
    ["channel", "time"],
    r"dimensions is \('num_times', .*\) in the container, \('channel', 'time'\) there",
)
register(
    "rate",
    lambda folder: linking(other(folder).acquisition["source"].data, rate=25.0),
    lambda path: _rates(path),
    (25.0, 30.0),
    "other.nwb:/acquisition/source/data: rate is 25.0 in the container, 30.0 there",
)
register(
    "starting_time",
    lambda folder: linking(other(folder).acquisition["source"].data, starting_time=7.0),
    lambda path: h5py.File(path)["/acquisition/linked/data"].parent["starting_time"][()],
    0.0,
    "starting_time is 7.0 in the container, 0.0 there",
)
register(
    "rate_for_timestamps",
    lambda folder: linking(other(folder).acquisition["timed"].data, rate=25.0),
    read_back("rate"),
    25.0,
    "rate is 25.0 in the container, timestamps, 30 a second on average there",
)
register(
    "timestamps_for_rate",
    lambda folder: linking(other(folder).acquisition["source"].data, timestamps=np.arange(ROWS) / 25.0),
    lambda path: _times(path),
    (1 / 25.0, 30.0),
    "rate is timestamps, 25 a second on average in the container, 30.0 there",
)
register(
    "other_timestamps",
    lambda folder: linking(other(folder).acquisition["timed"].data, timestamps=np.arange(ROWS) / 30.0 + 1.0),
    lambda path: _first_times(path),
    (1.0, 0.0),
    r"other.nwb:/acquisition/timed/data: timestamps\[0\] is 1.0 in the container, 0.0 there",
)
register(
    "series_rate",
    lambda folder: _managed(folder, rate=25.0),
    lambda path: _rates(path),
    (25.0, 30.0),
    "/source/data: rate is 25.0 in the container, 30.0 there",
)
register(
    "series_starting_time",
    lambda folder: _managed(folder, starting_time=7.0),
    lambda path: h5py.File(path)["/acquisition/linked/data"].parent["starting_time"][()],
    0.0,
    "/source/data: starting_time is 7.0 in the container, 0.0 there",
)
register(
    "unit_of_a_series",
    lambda folder: _managed(folder, unit="mA", conversion=5.0),
    lambda path: (read_back("unit")(path), h5py.File(path)["/acquisition/linked/data"].attrs["conversion"]),
    ("V", 2.0),
    "/source/data: unit is 'mA' in the container, 'V' there",
    "conversion is 5.0 in the container, 2.0 there",
)
register(
    "series_of_another_manager",
    lambda folder: linking(other(folder).acquisition["source"]),
    reaches,
    False,
    "must lead to something: that file has no /source/data",
    "same manager",
)
register(
    "unit_of_a_series_of_this_file",
    lambda folder: _sharing(session(name="source")),
    read_back("unit"),
    "V",
    "linked/data -> .*source/data: unit is 'mA' in the container, 'V' there",
)


def _managed(folder: Path, **said: Any) -> Content:
    """Return a file with a series of another file, which was read by the manager that is to write."""
    manager = get_manager()
    source = NWBHDF5IO(folder / "other.nwb", "r", manager=manager).read().acquisition["source"]
    return linking(source, **said), manager


def _sharing(nwbfile: NWBFile) -> NWBFile:
    nwbfile.add_acquisition(TimeSeries(name="linked", data=nwbfile.acquisition["source"], unit="mA", rate=30.0))
    return nwbfile


def _rates(path: Path) -> tuple[float, float]:
    with h5py.File(path) as file:
        series = file["/acquisition/linked"]
        return tuple(float(item["starting_time"].attrs["rate"]) for item in (series, series["data"].parent))


def _times(path: Path) -> tuple[float, float]:
    """Return the time between two rows by the series' own timestamps, and the rate of the series it links to."""
    with h5py.File(path) as file:
        series = file["/acquisition/linked"]
        own, there = series["timestamps"], series["data"].parent["starting_time"]
        return float(own[1] - own[0]), float(there.attrs["rate"])


def _first_times(path: Path) -> tuple[float, float]:
    with h5py.File(path) as file:
        series = file["/acquisition/linked"]
        return tuple(float(item["timestamps"][0]) for item in (series, series["data"].parent))


def _electrical(folder: Path) -> NWBFile:
    nwbfile = session(name="own")
    group = nwbfile.create_electrode_group(
        name="group", description="one", location="CA1", device=nwbfile.create_device(name="probe")
    )
    for _ in range(COLUMNS - 1):
        nwbfile.add_electrode(location="CA1", group=group)
    region = nwbfile.create_electrode_table_region(region=list(range(COLUMNS - 1)), description="all")
    data = raw(folder)
    nwbfile.add_acquisition(ElectricalSeries(name="linked", data=data, electrodes=region, conversion=2.0, rate=30.0))
    return nwbfile


def _channels(path: Path) -> tuple[int, int]:
    with h5py.File(path) as file:
        series = file["/acquisition/linked"]
        return series["data"].shape[1], len(series["electrodes"])


register(
    "number_of_electrodes",
    _electrical,
    _channels,
    (COLUMNS, COLUMNS - 1),
    rf"shape is \(..., {COLUMNS - 1}\) \(electrodes\) in the container, \({ROWS}, {COLUMNS}\) there",
)


def _with_times_of_another(folder: Path) -> NWBFile:
    """Return a series with the timestamps of another one that has a row less; pynwb compares arrays only."""
    nwbfile = session(name="own")
    times = np.arange(ROWS - 1) / 30.0
    shorter = TimeSeries(name="shorter", data=values((ROWS - 1, COLUMNS)), unit="V", timestamps=times)
    nwbfile.add_acquisition(shorter)
    nwbfile.add_acquisition(TimeSeries(name="linked", data=raw(folder), unit="V", conversion=2.0, timestamps=shorter))
    return nwbfile


def _lengths(path: Path) -> tuple[int, int]:
    with h5py.File(path) as file:
        series = file["/acquisition/linked"]
        return len(series["data"]), len(series["timestamps"])


register(
    "length",
    _with_times_of_another,
    _lengths,
    (ROWS, ROWS - 1),
    rf"{WHERE}raw.h5:/data: length is {ROWS - 1} \(timestamps\) in the container, {ROWS} there",
)

for _name, _content, _says in (
    ("number_of_electrodes", _electrical, rf"shape is \(..., {COLUMNS - 1}\) \(electrodes\) in the container"),
    ("length", _with_times_of_another, rf"length is {ROWS - 1} \(timestamps\) in the container, {ROWS} there"),
):

    @fault(
        "LinkError",
        _says,
        "'copy' does not mend it",
        name=f"link_{_name}_is_not_mended_by_a_copy",
        prepare=lambda place: prepare(place.folder),
    )
    def _copied(place: Place, content: Callable[[Path], NWBFile] = _content) -> None:
        place.write(content(place.folder), on_mismatch="copy")


# -- what becomes of them on request ---------------------------------------------------------------------------


@fault(None, name="link_mismatch_is_warned_of", prepare=lambda place: prepare(place.folder), leaves=True)
def mismatch_is_warned_of(place: Place) -> None:
    """The link is made, as by pynwb, and the root says what readers will find."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        place.write(linking(raw(place.folder), unit="mA", conversion=5.0), on_mismatch="warn")
    told = [str(item.message) for item in warned if "readers will find" in str(item.message)]
    assert len(told) == (2 if place.rank == 0 else 0), told
    if place.rank == 0:
        assert any("unit is 'mA' in the container, 'V' there" in text for text in told), told
        assert any("conversion is 5.0 in the container, 2.0 there" in text for text in told), told
        assert is_external(place.path, "data") and read_back("unit")(place.path) == "V"


@fault(None, name="link_mismatch_is_copied", prepare=lambda place: prepare(place.folder), leaves=True)
def mismatch_is_copied(place: Place) -> None:
    """Values and the container's attributes come into the file; what fits is linked to all the same."""
    nwbfile = linking(raw(place.folder), unit="mA", timestamps=raw(place.folder, "times"))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        place.write(nwbfile, on_mismatch="copy")
    assert not [str(item.message) for item in warned if "readers will find" in str(item.message)]
    if place.rank == 0:
        assert not is_external(place.path, "data") and is_external(place.path, "timestamps")
        assert read_back("unit")(place.path) == "mA"
        with h5py.File(place.path) as file:
            assert np.array_equal(file["/acquisition/linked/data"], values((ROWS, COLUMNS)))


STORED = {
    "deflated": {"compression": "gzip", "shuffle": True},
    "skipped": {"compression": "lzf"},  # which leaves chunks that do not shrink as they are, and says so in their masks
    "plain": {},
}


def _prepare_chunks(place: Place) -> None:
    """Write datasets in chunks, some of noise, the last ones cut off by the end."""
    rows = np.random.default_rng(1).integers(-(2**15), 2**15, (1050, COLUMNS), "i2")
    rows[:300] = 7
    with h5py.File(place.folder / "chunks.h5", "w") as file:
        for name, settings in STORED.items():
            file.create_dataset(name, data=rows, chunks=(100, 3), **settings)


def _stored(dataset: h5py.Dataset) -> dict[tuple[int, ...], tuple[int, bytes]]:
    """Return filter mask and bytes of each chunk."""
    infos = [dataset.id.get_chunk_info(number) for number in range(dataset.id.get_num_chunks())]
    return {info.chunk_offset: dataset.id.read_direct_chunk(info.chunk_offset) for info in infos}


@fault(None, name="link_is_copied_as_it_is_stored", prepare=_prepare_chunks, leaves=True, backends=("direct",))
def is_copied_as_it_is_stored(place: Place) -> None:
    """Chunk by chunk, masks and all; what asks for other chunks is encoded anew, to the same values."""
    nwbfile = session(name="own")
    source = h5py.File(place.folder / "chunks.h5", "r")
    for name in STORED:
        nwbfile.add_acquisition(TimeSeries(name=name, data=source[name], unit="V", rate=30.0))
    anew = H5DataIO(source["skipped"], link_data=False, chunks=(70, COLUMNS), compression="gzip")
    nwbfile.add_acquisition(TimeSeries(name="anew", data=anew, unit="V", rate=30.0))
    place.write(nwbfile, link_data=False)
    if place.rank == 0:
        with h5py.File(place.path) as file:
            for name in STORED:
                data = file[f"/acquisition/{name}/data"]
                assert data.file.filename == str(place.path) and len(_stored(data)) == 22
                assert _stored(data) == _stored(source[name]), name
            assert {mask for mask, _ in _stored(file["/acquisition/skipped/data"]).values()} == {0, 1}
            data = file["/acquisition/anew/data"]
            assert (data.chunks, data.compression) == ((70, COLUMNS), "gzip")
            assert np.array_equal(data, source["skipped"])


def is_external(path: Path, name: str) -> bool:
    """Tell whether a dataset of the series is a link to another file."""
    with h5py.File(path) as file:
        return isinstance(file.get(f"/acquisition/linked/{name}", getlink=True), h5py.ExternalLink)


@fault("LinkError", "on_mismatch must be one of raise, warn, copy", name="keyword_on_mismatch")
def keyword_on_mismatch(place: Place) -> None:
    place.write(session(), on_mismatch="ignore")


@fault("AgreementError", "on_mismatch", ranks=(2, 3, 4, 5), name="ranks_differ_in_on_mismatch")
def ranks_differ_in_on_mismatch(place: Place) -> None:
    place.write(session(), on_mismatch="warn" if place.rank == place.last else "raise")

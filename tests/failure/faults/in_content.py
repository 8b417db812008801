"""Faults in what is to be written: NWBFiles that differ between ranks, and settings that HDF5 cannot have."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import numpy as np
from failure.faults.fault import SEVERAL, Place, fault
from failure.faults.material import CHUNK, Asked, session, values
from hdmf.common import DynamicTable, VectorData
from hdmf.data_utils import DataChunkIterator
from pynwb import H5DataIO, TimeSeries

# -- ranks that were given different NWBFiles ------------------------------------------------------------------


def _differs(label: str, /, *says: str, who: int = -1, **keywords: Any) -> None:
    @fault(
        "AgreementError", "same NWBFile", *says, "Build it from the same values", name=f"differs_in_{label}",
        ranks=SEVERAL,
    )  # fmt: skip
    def run(place: Place) -> None:
        culprit = who % place.size
        data = keywords.get("data", lambda: None)() if place.rank == culprit else None
        others = {key: value for key, value in keywords.items() if key != "data" and place.rank == culprit}
        place.write(session(data, **others))


_differs("rate", r"/acquisition/probe/starting_time@rate", "30.0", "25.0", rate=25.0)
_differs("rate_on_rank_1", r"starting_time@rate", "rank 1", "25.0", who=1, rate=25.0)
_differs("shape", "/acquisition/probe/data", r"\(4000, 8\)", r"\(3000, 8\)", data=lambda: H5DataIO(values((3000, 8)), chunks=CHUNK))  # fmt: skip  # noqa: E501
_differs("dtype", "/acquisition/probe/data", "int16", "int32", data=lambda: H5DataIO(values(dtype="i4"), chunks=CHUNK))  # fmt: skip  # noqa: E501
_differs("byte_order", "/acquisition/probe/data", "int16", ">i2", data=lambda: H5DataIO(values(dtype=">i2"), chunks=CHUNK))  # fmt: skip  # noqa: E501
_differs("chunks", "/acquisition/probe/data", "chunks", r"200", data=lambda: H5DataIO(values(), chunks=(200, 8)))
_differs("filters", "/acquisition/probe/data", "compression", "gzip", data=lambda: H5DataIO(values(), chunks=CHUNK, compression="gzip"))  # fmt: skip  # noqa: E501
_differs("maxshape", "/acquisition/probe/data", "maxshape", data=lambda: H5DataIO(values(), chunks=CHUNK, maxshape=(None, 8)))  # fmt: skip  # noqa: E501
_differs("values", "/acquisition/probe/data", "sample", data=lambda: H5DataIO(values() + 1, chunks=CHUNK))
_differs("name", "/acquisition/", "nothing", name="other")
_differs("unit_of_conversion", "/acquisition/probe/data@conversion", "0.5", conversion=0.5)
_differs("description", "/session_description", "a fault", "another", description="another")
_differs("start", "/session_start_time", "10:15:31", start=datetime(2024, 3, 5, 10, 15, 31, tzinfo=timezone.utc))
_differs("bulk_or_not", "/acquisition/probe/data", data=lambda: [1, 2, 3])


@fault("AgreementError", "same NWBFile", "/acquisition/second", "nothing", ranks=SEVERAL)
def differs_in_a_missing_series(place: Place) -> None:
    nwbfile = session()
    if place.rank != place.last:
        nwbfile.add_acquisition(TimeSeries(name="second", data=values(), unit="V", rate=1.0))
    place.write(nwbfile)


@fault("AgreementError", "same NWBFile", "/acquisition/second", "nothing", ranks=SEVERAL)
def differs_in_an_additional_series(place: Place) -> None:
    nwbfile = session()
    if place.rank == place.last:
        nwbfile.add_acquisition(TimeSeries(name="second", data=values(), unit="V", rate=1.0))
    place.write(nwbfile)


@fault("AgreementError", "same NWBFile", "/acquisition/small/data", ranks=SEVERAL)
def differs_in_small_values(place: Place) -> None:
    nwbfile = session()
    small = np.arange(10) + (place.rank == place.last)
    nwbfile.add_acquisition(TimeSeries(name="small", data=small, unit="V", rate=1.0))
    place.write(nwbfile)


@fault("AgreementError", "same NWBFile", "/analysis/cells/kind", r"\['left', 'right'\]", ranks=SEVERAL)
def differs_in_the_order_of_rows_of_text(place: Place) -> None:
    nwbfile = session()
    kinds = ["right", "left"] if place.rank == place.last else ["left", "right"]
    columns = [VectorData(name="kind", description="text", data=kinds)]
    nwbfile.add_analysis(DynamicTable(name="cells", description="of two kinds", columns=columns))
    place.write(nwbfile)


@fault(None, ranks=SEVERAL, leaves=True)
def columns_of_a_table_come_from_a_set(place: Place) -> None:
    nwbfile = session()
    names = ["a", "b", "c"] if place.rank else ["c", "a", "b"]
    columns = [VectorData(name=name, description="a column", data=[1, 2]) for name in names]
    nwbfile.add_analysis(DynamicTable(name="cells", description="of two kinds", columns=columns))
    place.write(nwbfile)


@fault(None, ranks=SEVERAL, leaves=True)
def long_doubles_differ_in_bytes_that_mean_nothing(place: Place) -> None:
    nwbfile = session()
    for name, count in {"small": 10, "large": 1000}.items():
        long = np.arange(count).astype("g") / 3
        spare = long.view("u1").reshape(count, -1)[:, 10:]
        spare[...] = np.random.default_rng(place.rank).integers(0, 256, spare.shape)
        nwbfile.add_acquisition(TimeSeries(name=name, data=long, unit="V", rate=1.0))
    place.write(nwbfile)


@fault("AgreementError", "same NWBFile", r"starting_time@rate", ranks=SEVERAL)
def differs_on_every_rank(place: Place) -> None:
    place.write(session(rate=30.0 + place.rank))


@fault("AgreementError", "same NWBFile", r"starting_time@rate", "rank 2", ranks=(3, 4, 5))
def differs_where_others_have_none(place: Place) -> None:
    rate = 25.0 if place.rank == 2 else 30.0
    place.write(None if place.rank == 1 else session(rate=rate))


# -- what cannot be laid out -------------------------------------------------------------------------------


def _refused(name: str, make: Callable[[], Any], *says: str, error: str = "LayoutError", **expected: Any) -> None:
    @fault(error, *says, name=f"refused_{name}", **expected)
    def run(place: Place) -> None:
        place.write(session(make()))


PATH = "/acquisition/probe/data"
POSITIVE = r"one positive extent for each axis of shape \(4000, 8\)"
_refused("chunks_zero", lambda: H5DataIO(values(), chunks=(0, 8)), POSITIVE, PATH, r"\(0, 8\)", "H5DataIO")
_refused("chunks_negative", lambda: H5DataIO(values(), chunks=(-5, 8)), POSITIVE, PATH, r"\(-5, 8\)", "H5DataIO")
_refused("chunks_too_few_axes", lambda: H5DataIO(values(), chunks=(100,)), POSITIVE, PATH, r"\(100,\)", "H5DataIO")
_refused("chunks_too_many_axes", lambda: H5DataIO(values(), chunks=(9, 8, 1)), POSITIVE, PATH, "H5DataIO")
_refused("chunks_too_large", lambda: H5DataIO(values(), chunks=(100, 9)), "not be larger than", PATH, r"\(100, 9\)", "H5DataIO")  # fmt: skip  # noqa: E501
_refused("chunks_fractional", lambda: H5DataIO(values(), chunks=(99.5, 8)), "whole numbers", PATH, "99.5", "H5DataIO")
_refused("chunks_not_a_number", lambda: H5DataIO(values(), chunks=(float("nan"), 8)), "whole numbers", PATH, "nan", "H5DataIO")  # fmt: skip  # noqa: E501
_refused("chunks_infinite", lambda: H5DataIO(values(), chunks=(float("inf"), 8)), "whole numbers", PATH, "inf", "H5DataIO")  # fmt: skip  # noqa: E501
_refused("chunks_text", lambda: H5DataIO(values(), chunks=("many", 8)), "whole numbers", PATH, "many", "H5DataIO")
_refused("small_chunks_zero", lambda: H5DataIO([1, 2, 3], chunks=(0,)), PATH, "H5DataIO|settings", "[Cc]hunk")
_refused("small_chunks_too_large", lambda: H5DataIO([1, 2, 3], chunks=(10,)), PATH, "[Cc]hunk")
_refused("maxshape_too_small", lambda: H5DataIO(values(), chunks=CHUNK, maxshape=(10, 8)), PATH, r"10")
_refused("objects", lambda: np.array([{"a": 1}, object()], dtype=object), "probe", "object|dict")
_refused("large_objects", lambda: np.array([object()] * 5000, dtype=object), "probe", "object")
_refused("mixed_objects", lambda: np.array([1, "two", 3.0] * 2000, dtype=object), "probe")


def _failing() -> Any:
    """Give some rows, then fail."""
    yield from values()[:100]
    raise ValueError("the camera is gone")


def _generator(rows: Any, **settings: Any) -> Any:
    return H5DataIO(DataChunkIterator(data=rows, maxshape=(None, 8), dtype=np.dtype("i2")), **settings)


_refused("generator_failing", lambda: _generator(_failing()), "after row 100", "the camera is gone", PATH, error="SourceError")  # fmt: skip  # noqa: E501
_refused("generator_narrow", lambda: _generator(row[:5] for row in values()), "whole rows along axis 0", r"\(1, 5\)", PATH, error="SourceError")  # fmt: skip  # noqa: E501


def _unencodable_filter() -> Any:
    """Return data with a filter that this machine does not have; h5py registers no filter of that number."""
    return H5DataIO(values(), chunks=CHUNK, compression=32015, compression_opts=(3,), allow_plugin_filters=True)


@fault("LayoutError|ValueError", "32015|[Ff]ilter")
def refused_unknown_filter(place: Place) -> None:
    place.write(session(_unencodable_filter()))


@fault(None, leaves=True, backends=("direct",))
def copy_with_unknown_filter(place: Place) -> None:
    """A copied dataset whose filter is not to be had here: it is copied as it is stored, which needs none."""
    import h5py

    source = place.folder.parent / f"source_{place.folder.name}.h5"
    if place.rank == 0:
        with h5py.File(source, "w") as file:
            creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            creation.set_chunk(CHUNK)
            creation.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (3,))
            space = h5py.h5s.create_simple((4000, 8))
            h5py.h5d.create(file.id, b"data", h5py.h5t.NATIVE_INT16, space, creation)
    place.comm.Barrier()
    with h5py.File(source, "r") as file:
        place.write(session(H5DataIO(file["data"], link_data=False)))


def _cannot_encode_szip() -> bool:
    import h5py

    info = h5py.h5z.get_filter_info(h5py.h5z.FILTER_SZIP) if h5py.h5z.filter_avail(h5py.h5z.FILTER_SZIP) else 0
    return not info & h5py.h5z.FILTER_CONFIG_ENCODE_ENABLED


if _cannot_encode_szip():
    _refused("szip", lambda: H5DataIO(values(), chunks=CHUNK, compression="szip"), "szip|SZIP", PATH)


@fault("NotSendableError", "cannot be sent", PATH, "every rank", ranks=SEVERAL)
def source_cannot_be_sent(place: Place) -> None:
    place.write(session(H5DataIO(Asked(lambda _, data: data))) if place.rank == 0 else None)


class _Unreadable(Asked):
    """Pickles, and fails where it is unpickled."""

    def _to_dict(self) -> dict[str, Any]:
        return {}

    @staticmethod
    def _from_dict(dictionary: dict[str, Any]) -> Any:
        raise FileNotFoundError("a file of the root's own host")

    def __reduce__(self) -> Any:
        return _Unreadable._from_dict, ({},)


@fault("ParnwbError|SourceError|FileNotFoundError", "root's own host", PATH, ranks=SEVERAL)
def source_cannot_be_received(place: Place) -> None:
    place.write(session(H5DataIO(_Unreadable())) if place.rank == 0 else None)


@fault("LayoutError|ParnwbError", "pynwb could not", ranks=SEVERAL)
def build_fails_on_one_rank(place: Place) -> None:
    nwbfile = session()
    if place.rank == place.last:
        nwbfile.acquisition["probe"].fields["unit"] = _Unprintable()
    place.write(nwbfile)


class _Unprintable:
    """What hdmf cannot build."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("no such thing")

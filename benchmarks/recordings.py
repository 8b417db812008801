"""The data that are written: made recordings of five kinds, or any recording that neuroconv reads.

A recording is described by a few values that travel to the processes of a run as JSON; each opens it anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from measure import MB

RATE = 30000.0
EPHYS_CHUNK = (78125, 64)  # what neuroconv and SpikeInterface choose for int16 electrophysiology
FRAME = (512, 512)
BLOCK_BYTES = 32 * 2**20
METADATA = 'NWBFile:\n  session_start_time: "2024-03-05T10:15:30+00:00"\n'
KINDS = ("neuropixels", "wideband", "imaging", "simulation", "spikes")
VENDOR = ("neuropixels", "given")
"""Kinds that are in a vendor's format, which neuroconv reads."""

Wrap = Callable[[Any], Any]


@dataclass(frozen=True)
class Recording:
    """One recording.

    Parameters
    ----------
    kind
        One of ``KINDS``, or ``'given'``.
    path
        The file; what neuroconv opens where it is a vendor's.
    shape, dtype
        Of the values that are written.
    columns
        How many values of the flat file belong to one row, those that are not written included.
    chunk
        In which all writers store it.
    metadata
        YAML file in neuroconv's format, or nothing.
    """

    kind: str
    path: str
    shape: tuple[int, ...]
    dtype: str
    columns: int
    chunk: tuple[int, ...]
    metadata: str = ""

    @property
    def raw_bytes(self) -> int:
        """Bytes of the values that are written."""
        return prod(self.shape) * np.dtype(self.dtype).itemsize

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, item: dict[str, Any]) -> Recording:
        """Return what ``to_json`` described."""
        return cls(**{**item, "shape": tuple(item["shape"]), "chunk": tuple(item["chunk"])})

    # -- opening -------------------------------------------------------------------------------------------

    def values(self) -> Any:
        """Return something that gives the values by ``[slices]``: flat files mapped, others through neuroconv."""
        if self.kind == "given":
            return _Read(_only_series(self._built()).data)
        flat = np.memmap(self.path, dtype=self.dtype, mode="r").reshape(-1, self.columns)
        return flat[:, : prod(self.shape[1:])].reshape(self.shape)

    def nwbfile(self, wrap: Wrap | None = None) -> Any:
        """Return the NWBFile, whose large data are lazy, or what ``wrap`` makes of them."""
        wrap = wrap or (lambda data: data)
        if self.kind in VENDOR:
            nwbfile = self._built()
            series = _only_series(nwbfile)
            series.fields["data"] = wrap(series.fields["data"])
            return nwbfile
        nwbfile = _empty_nwbfile()
        if self.kind == "spikes":
            nwbfile.units = self._units(wrap)
            return nwbfile
        nwbfile.add_acquisition(self._series(wrap(self.iterator())))
        return nwbfile

    def iterator(self) -> Any:
        """Return the iterator that neuroconv would make of these values, with this recording's chunks."""
        from neuroconv.tools.hdmf import SliceableDataChunkIterator

        return SliceableDataChunkIterator(data=self.values(), chunk_shape=self.chunk, buffer_gb=0.1)

    def _series(self, data: Any) -> Any:
        from pynwb import TimeSeries
        from pynwb.image import ImageSeries

        if self.kind == "imaging":
            return ImageSeries(name="frames", data=data, unit="counts", rate=30.0)
        unit, name = ("mV", "membrane") if self.kind == "simulation" else ("V", "wideband")
        return TimeSeries(name=name, data=data, unit=unit, rate=RATE)

    def _units(self, wrap: Wrap) -> Any:
        from hdmf.common import ElementIdentifiers, VectorData, VectorIndex
        from pynwb.misc import Units

        ends = np.load(Path(self.path).with_suffix(".ends.npy"))
        times = VectorData(name="spike_times", description="times of spikes", data=wrap(self.values()))
        index = VectorIndex(name="spike_times_index", target=times, data=ends)
        ids = ElementIdentifiers(name="id", data=np.arange(len(ends)))
        return Units(name="units", description="made units", id=ids, columns=[index, times])

    def _built(self) -> Any:
        import yaml

        from parnwb.recordings.interfaces import build_nwbfile

        metadata = yaml.safe_load(Path(self.metadata).read_text()) if self.metadata else {}
        return build_nwbfile(self.path, metadata=metadata)


class _Read:
    """Indexes what only an iterator can read."""

    def __init__(self, iterator: Any) -> None:
        self._iterator = iterator
        self.shape, self.dtype = tuple(iterator.maxshape), iterator.dtype

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, selection: Any) -> Any:
        given = selection if isinstance(selection, tuple) else (selection,)
        whole = given + (slice(None),) * (len(self.shape) - len(given))
        bounds = (part.indices(extent) for part, extent in zip(whole, self.shape, strict=True))
        return self._iterator._get_data(tuple(slice(start, stop) for start, stop, _ in bounds))


def _empty_nwbfile() -> Any:
    from pynwb import NWBFile

    start = datetime(2024, 3, 5, 10, 15, 30, tzinfo=timezone.utc)
    return NWBFile(session_description="benchmark", identifier="benchmark", session_start_time=start)


def _only_series(nwbfile: Any) -> Any:
    series = [one for one in nwbfile.acquisition.values() if hasattr(one, "data")]
    if len(series) != 1:
        raise SystemExit(f"a recording must have one series to compare writers by, got {len(series)}: name one stream")
    return series[0]


# -- making ----------------------------------------------------------------------------------------------------


def given(path: Path, metadata: Path | None) -> Recording:
    """Return any recording that ``parnwb convert`` takes, if it has one series."""
    from parnwb.recordings.interfaces import build_nwbfile

    said = str(metadata.absolute()) if metadata else ""
    import yaml

    data = _only_series(build_nwbfile(path, metadata=yaml.safe_load(metadata.read_text()) if metadata else {})).data
    shape = tuple(map(int, data.maxshape))
    return Recording("given", str(path.absolute()), shape, data.dtype.str, 0, tuple(map(int, data.chunk_shape)), said)


def make(kind: str, folder: Path, megabytes: float, channels: int = 384) -> Recording:
    """Make a recording of one of ``KINDS`` of about so many MB; the same bytes each time."""
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "neuropixels":
        return _make_neuropixels(folder, megabytes, channels)
    path = folder / f"{kind}.bin"
    row, dtype, chunk, blocks = {
        "wideband": ((channels,), "<i2", EPHYS_CHUNK, _wideband),
        "imaging": (FRAME, "<u2", (10, *FRAME), _imaging),
        "simulation": ((256,), "<f4", (16384, 64), _simulation),
        "spikes": ((), "<f8", (524288,), _spikes),
    }[kind]
    rows = max(1, int(megabytes * MB / np.dtype(dtype).itemsize / prod(row)))
    with path.open("wb") as file:
        for block in blocks(rows, row, np.random.default_rng(0)):
            file.write(np.ascontiguousarray(block, dtype=dtype).data)
    if kind == "spikes":
        np.save(path.with_suffix(".ends.npy"), _ends(rows))
    shape = (rows, *row)
    return Recording(kind, str(path), shape, dtype, prod(row), tuple(map(min, chunk, shape)))


def _make_neuropixels(folder: Path, megabytes: float, channels: int) -> Recording:
    """Make a SpikeGLX recording: few bits of noise, as Neuropixels probes have. The sync channel is not written."""
    from parnwb.recordings.made_recording import make_spikeglx_recording

    run = make_spikeglx_recording(folder, megabytes=megabytes, channels=channels)
    binary = next(run.rglob("*.ap.bin"))
    columns = channels + (1 if channels == 384 else 4)
    frames = binary.stat().st_size // 2 // columns
    metadata = folder / "metadata.yaml"
    metadata.write_text(METADATA)
    chunk = (min(EPHYS_CHUNK[0], frames), EPHYS_CHUNK[1])
    return Recording("neuropixels", str(binary), (frames, channels), "<i2", columns, chunk, str(metadata))


Blocks = Iterator[Any]
Random = np.random.Generator


def _counts(rows: int, row: tuple[int, ...]) -> Iterator[int]:
    most = max(1, BLOCK_BYTES // (8 * prod(row)))
    for start in range(0, rows, most):
        yield min(most, rows - start)


def _wideband(rows: int, row: tuple[int, ...], random: Random) -> Blocks:
    """Slow potentials of hundreds of bits, noise of tens."""
    level = np.zeros(row)
    for count in _counts(rows, row):
        slow = level * 0.97 + np.cumsum(random.normal(0, 4, (count, *row)), axis=0)
        level = slow[-1]
        yield np.round(slow + random.normal(0, 25, (count, *row)))


def _imaging(rows: int, row: tuple[int, ...], random: Random) -> Blocks:
    """Photon noise upon a dim field with bright cells."""
    y, x = np.indices(row)
    field = np.full(row, 90.0)
    for cell in random.uniform(0, row[0], (150, 2)):
        field += 400 * np.exp(-((y - cell[0]) ** 2 + (x - cell[1]) ** 2) / 40)
    for count in _counts(rows, row):
        yield np.clip(np.round(field + np.sqrt(field) * random.standard_normal((count, *row), np.float32)), 0, 65535)


def _simulation(rows: int, row: tuple[int, ...], random: Random) -> Blocks:
    """Membrane potentials in mV: smooth, with all digits of float32."""
    level = np.full(row, -65.0)
    for count in _counts(rows, row):
        steps = random.normal(0, 0.05, (count, *row))
        potential = -65 + (level + 65) * np.exp(-np.arange(1, count + 1) / 2000.0)[:, np.newaxis] + np.cumsum(steps, 0)
        level = np.clip(potential[-1], -90, -40)
        yield potential


def _spikes(rows: int, row: tuple[int, ...], random: Random) -> Blocks:
    """Times on a grid of samples, ascending within each unit."""
    previous = 0
    for end in _ends(rows):
        yield np.cumsum(random.geometric(5.0 / RATE, int(end) - previous)) / RATE
        previous = int(end)


def _ends(rows: int) -> Any:
    """Return where each unit's spikes end: units of very different rates, which share all rows."""
    weights = np.random.default_rng(1).lognormal(0, 1, 200).cumsum()
    return np.unique(np.ceil(weights / weights[-1] * rows).astype(np.uint64))

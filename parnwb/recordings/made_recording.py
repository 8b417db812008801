"""Made recordings in a vendor's true on-disk format, for the demo, the benchmarks and the tests.

What is made is what SpikeGLX writes for a Neuropixels probe: interleaved int16, the sync words in the last
columns, and a ``.meta`` that neo, spikeinterface and neuroconv read, geometry included. The values have the
amplitude in bits, and hence the compressibility, of real recordings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from parnwb.errors import SourceError, TargetError

RUN = "demo"
"""Name of the run, with which all file names begin."""

SAMPLING_RATE = 30_000
"""Frames per second."""

BLOCK_FRAMES = 2048
POOL_BYTES = 40 * 10**6
UNITS_PER_CHANNEL = 0.25
SPIKES_PER_SECOND = 6.0
TEMPLATE_FRAMES = 60
FOOTPRINT = 12
FALL_OFF_UM = 30.0

Int16 = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Probe:
    """What a kind of Neuropixels probe determines in a recording.

    Parameters
    ----------
    part_number
        As in ``imDatPrb_pn``; readers take the geometry from it.
    imro_type
        First number of the table of electrodes.
    channels, sync
        How many columns of electrodes and of sync words a file has.
    range_volts, max_int, gain
        The converter: ``max_int`` counts are ``range_volts / gain``.
    noise
        Standard deviation of a typical channel, in counts.
    shanks, row_um, staggered
        Geometry: number of shanks, distance of rows, whether odd rows are shifted.
    """

    part_number: str
    imro_type: int
    channels: int
    sync: int
    range_volts: float
    max_int: int
    gain: int
    noise: float
    shanks: int
    row_um: int
    staggered: bool

    @property
    def columns(self) -> int:
        """Number of interleaved columns in the file."""
        return self.channels + self.sync

    @property
    def microvolts(self) -> float:
        """Microvolts per count."""
        return self.range_volts / self.max_int / self.gain * 1e6

    def site(self, channel: int) -> tuple[int, int, int]:
        """Return shank, x and z of a channel's electrode, the last two in micrometres."""
        shank, electrode = divmod(channel, self.channels // self.shanks)
        row, column = divmod(electrode, 2)
        left = 11 if self.staggered and row % 2 else 27
        return shank, left + 32 * column, self.row_um * row


PROBES = {
    "NP1.0": Probe("NP1000", 0, 384, 1, 0.6, 512, 500, 4.2, 1, 20, True),
    "NP2.0": Probe("NP2003", 2003, 384, 1, 0.62, 2048, 100, 4.2, 1, 15, False),
    "NP2.0-QB": Probe("NP2020", 2020, 1536, 4, 0.62, 2048, 100, 4.2, 4, 15, False),
}
"""The probes that can be made, by name; the last one is the Quad-Base."""


def make_spikeglx_recording(
    folder: Path | str,
    *,
    megabytes: float = 350,
    channels: int = 384,
    probe: str | None = None,
    seed: int = 0,
) -> Path:
    """Write a SpikeGLX recording of one Neuropixels probe. Independent.

    Parameters
    ----------
    folder
        Where the run's folder is made; it is created if need be, and an earlier run in it is replaced.
    megabytes
        Size of the ``.ap.bin``, in 10**6 bytes; rounded to whole frames.
    channels
        384, or 1536 for a Quad-Base probe.
    probe
        One of ``PROBES``; the default is ``NP1.0`` for 384 channels and ``NP2.0-QB`` for 1536.
    seed
        The same seed gives the same bytes.

    Returns
    -------
    run
        The folder ``demo_g0``; in it is ``demo_g0_imec0`` with ``demo_g0_t0.imec0.ap.bin`` and ``.ap.meta``.

    Raises
    ------
    SourceError
        There is no such probe, or not with so many channels, or the size is not positive.
    TargetError
        The folder cannot be written.
    """
    kind = _chosen_probe(probe, channels)
    frames = round(megabytes * 1e6 / (2 * kind.columns))
    if frames < 1:
        raise SourceError(
            f"a made recording has at least one frame, got {megabytes} MB", remedy="Ask for a larger size"
        )
    run = Path(folder) / f"{RUN}_g0"
    binary = run / f"{RUN}_g0_imec0" / f"{RUN}_g0_t0.imec0.ap.bin"
    try:
        binary.parent.mkdir(parents=True, exist_ok=True)
        digest = _write_binary(binary, kind, frames, seed)
        binary.with_suffix(".meta").write_text(_meta(kind, frames, binary, digest), encoding="ascii")
    except OSError as error:
        raise TargetError(
            f"a made recording needs a folder that can be written: {error.strerror}",
            where=str(binary),
            remedy="Choose another folder or a smaller size",
        ) from error
    return run


def _chosen_probe(name: str | None, channels: int) -> Probe:
    name = name or ("NP1.0" if channels == 384 else "NP2.0-QB")
    if name not in PROBES or PROBES[name].channels != channels:
        known = ", ".join(f"{key} ({value.channels} channels)" for key, value in PROBES.items())
        raise SourceError(
            f"a probe and its number of channels must belong together, got {name!r} and {channels}",
            remedy=f"Known are {known}",
        )
    return PROBES[name]


def _write_binary(path: Path, probe: Probe, frames: int, seed: int) -> str:
    """Write the samples and return their SHA1 as SpikeGLX prints it."""
    digest = hashlib.sha1(usedforsecurity=False)
    with path.open("wb") as file:
        for block in _blocks(probe, frames, np.random.default_rng(seed)):
            file.write(block.data)
            digest.update(block.data)
    return digest.hexdigest().upper()


def _blocks(probe: Probe, frames: int, random: np.random.Generator) -> Iterator[Int16]:
    """Yield the recording block by block, of shape (frames, columns); each overwrites the one before."""
    pool = _noise_pool(probe, frames, random)
    offsets = np.rint(random.normal(0, 1, probe.channels)).astype(np.int16)
    templates = _templates(probe, random)
    block = np.empty((BLOCK_FRAMES, probe.columns), np.int16)
    for index, start in enumerate(range(0, frames, BLOCK_FRAMES)):
        np.add(_noise(pool, index), offsets, out=block[:, : probe.channels])
        _add_spikes(block, templates, random)
        block[:, probe.channels :] = _sync_word(start)[:, np.newaxis]
        yield block[: min(BLOCK_FRAMES, frames - start)]


def _noise_pool(probe: Probe, frames: int, random: np.random.Generator) -> Int16:
    """Return noise of shape (blocks, frames, channels): correlated in time, partly common to all channels."""
    blocks = min(-(-frames // BLOCK_FRAMES), POOL_BYTES // (2 * BLOCK_FRAMES * probe.channels))
    pool = np.empty((blocks, BLOCK_FRAMES, probe.channels), np.int16)
    scale = (probe.noise * random.uniform(0.8, 1.2, probe.channels)).astype(np.float32)
    for block in pool:
        white = random.standard_normal((BLOCK_FRAMES + 1, probe.channels), dtype=np.float32)
        common = random.standard_normal((BLOCK_FRAMES, 1), dtype=np.float32)
        values = 0.85 * white[1:] + 0.43 * white[:-1] + 0.3 * common
        np.rint(values * scale, out=values)
        block[:] = values
    return pool


def _noise(pool: Int16, index: int) -> Int16:
    """Return the noise of block ``index``.

    The pool is used over and over: reversed, negated, then both. Between two equal stretches of a channel lie
    four times the pool's frames, far more than deflate's window of 32 KiB even if a chunk holds one channel.
    """
    turn, place = divmod(index, len(pool))
    noise = pool[place, ::-1] if turn & 1 else pool[place]
    return -noise if turn & 2 else noise


def _templates(probe: Probe, random: np.random.Generator) -> list[tuple[int, Int16]]:
    """Return the spikes of all units: the first channel, and counts of shape (frames, channels)."""
    time = np.arange(TEMPLATE_FRAMES) / SAMPLING_RATE * 1e3  # milliseconds
    templates = []
    for _ in range(round(probe.channels * UNITS_PER_CHANNEL)):
        first = int(random.integers(0, probe.channels - FOOTPRINT))
        sites = np.array([probe.site(first + channel) for channel in range(FOOTPRINT)], float)
        middle = sites[FOOTPRINT // 2]
        # Sites on another shank are 250 um away and see nothing.
        distance = np.hypot(sites[:, 1] - middle[1], sites[:, 2] - middle[2]) + 250 * (
            sites[:, 0] != middle[0]
        )
        trough = np.exp(-(((time - 0.6) / random.uniform(0.08, 0.15)) ** 2))
        rebound = 0.35 * np.exp(-(((time - 1.0) / random.uniform(0.2, 0.35)) ** 2))
        peak = min(400.0, 60 * random.lognormal(0.3, 0.5)) / probe.microvolts
        shape = -peak * np.outer(trough - rebound, np.exp(-distance / FALL_OFF_UM))
        templates.append((first, np.rint(shape).astype(np.int16)))
    return templates


def _add_spikes(block: Int16, templates: list[tuple[int, Int16]], random: np.random.Generator) -> None:
    expected = len(templates) * SPIKES_PER_SECOND * BLOCK_FRAMES / SAMPLING_RATE
    count = int(random.poisson(expected))
    units = random.integers(0, len(templates), count)
    times = random.integers(0, BLOCK_FRAMES - TEMPLATE_FRAMES, count)
    for unit, time in zip(units, times, strict=True):
        first, template = templates[unit]
        block[time : time + TEMPLATE_FRAMES, first : first + FOOTPRINT] += template


def _sync_word(start: int) -> Int16:
    """Return the sync words of a block: bit 6 is a square wave of 1 Hz."""
    frames = np.arange(start, start + BLOCK_FRAMES)
    return (64 * (frames // (SAMPLING_RATE // 2) % 2)).astype(np.int16)


def _meta(probe: Probe, frames: int, binary: Path, digest: str) -> str:
    """Return the text of the ``.meta``."""
    lf = probe.channels if probe.part_number == "NP1000" else 0  # acquired by NP1.0, but not saved here
    last = probe.channels + lf
    saved = f"0:{probe.channels - 1},{last}" if lf else f"0:{probe.columns - 1}"
    entries = {
        "acqApLfSy": f"{probe.channels},{lf},{probe.sync}",
        "appVersion": "20230905",
        "fileCreateTime": "2024-03-05T10:15:30",
        "fileName": f"D:/{binary.parent.parent.name}/{binary.parent.name}/{binary.name}",
        "fileSHA1": digest,
        "fileSizeBytes": 2 * frames * probe.columns,
        "fileTimeSecs": f"{frames / SAMPLING_RATE:.6f}",
        "firstSample": 0,
        "gateMode": "Immediate",
        "imAiRangeMax": probe.range_volts,
        "imAiRangeMin": -probe.range_volts,
        "imAnyChanFullBand": "false",
        "imCalibrated": "true",
        "imChan0apGain": probe.gain,
        "imDatApi": "3.62",
        "imDatPrb_dock": 1,
        "imDatPrb_pn": probe.part_number,
        "imDatPrb_port": 1,
        "imDatPrb_slot": 2,
        "imDatPrb_sn": "10000000001",
        "imDatPrb_type": probe.imro_type,
        "imMaxInt": probe.max_int,
        "imSampRate": SAMPLING_RATE,
        "nDataDirs": 1,
        "nSavedChans": probe.columns,
        "snsApLfSy": f"{probe.channels},0,{probe.sync}",
        "snsSaveChanSubset": saved,
        "syncSourceIdx": 0,
        "syncSourcePeriod": 1,
        "trigMode": "Immediate",
        "typeImEnabled": 1,
        "typeNiEnabled": 0,
        "typeObEnabled": 0,
        "typeThis": "imec",
        "userNotes": "made by parnwb; no animal was recorded",
        "~imroTbl": _electrodes(probe),
        "~snsChanMap": _channel_map(probe, lf),
        "~snsGeomMap": _geometry(probe),
    }
    return "".join(f"{key}={value}\n" for key, value in entries.items())


def _electrodes(probe: Probe) -> str:
    """Return ~imroTbl, whose columns differ between kinds of probe; all electrodes are those of bank 0."""
    rows = [f"({probe.imro_type},{probe.channels})"]
    for channel in range(probe.channels):
        shank, electrode = divmod(channel, probe.channels // probe.shanks)
        if probe.imro_type == 0:
            rows.append(f"({channel} 0 0 {probe.gain} 250 1)")
        elif probe.shanks == 1:
            rows.append(f"({channel} 1 0 {electrode})")
        else:
            rows.append(f"({channel} {shank} 0 0 {electrode})")
    return "".join(rows)


def _channel_map(probe: Probe, lf: int) -> str:
    """Return ~snsChanMap: name, acquired channel and place in the display of every saved channel."""
    names = [f"(AP{channel};{channel}:{channel})" for channel in range(probe.channels)]
    names += [
        f"(SY{word};{probe.channels + lf + word}:{probe.channels + word})" for word in range(probe.sync)
    ]
    return f"({probe.channels},{lf},{probe.sync})" + "".join(names)


def _geometry(probe: Probe) -> str:
    """Return ~snsGeomMap: shank, x, z and use of every channel."""
    head = f"({probe.part_number},{probe.shanks},{250 if probe.shanks > 1 else 0},70)"
    sites = (probe.site(channel) for channel in range(probe.channels))
    return head + "".join(f"({shank}:{x}:{z}:1)" for shank, x, z in sites)

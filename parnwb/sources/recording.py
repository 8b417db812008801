"""spikeinterface recordings: from the raw file where there is one, otherwise through the recording."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from parnwb.errors import SourceError
from parnwb.hyperslab import Hyperslab
from parnwb.sources.access import Access
from parnwb.sources.binary import BinarySource
from parnwb.sources.source import Source
from parnwb.sources.spikeglx import check_spikeglx

if TYPE_CHECKING:
    from spikeinterface import BaseRecording


@dataclass(frozen=True, eq=False)
class RecordingSource:
    """One segment of a spikeinterface recording, time x channels. All calls are independent.

    A lazily filtered recording gives other values near the bounds of what is asked, hence ``GRIDDED``.

    Parameters
    ----------
    recording
        The recording; other ranks get it by its own pickle.
    segment_index
        Which of its segments.
    return_in_uV
        Whether values are scaled to microvolts (float32) where the recording knows how.
    """

    recording: BaseRecording
    segment_index: int = 0
    return_in_uV: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of frames and number of channels."""
        frames = self.recording.get_num_samples(segment_index=self.segment_index)
        return int(frames), int(self.recording.get_num_channels())

    @property
    def dtype(self) -> np.dtype[Any]:
        """The recording's dtype, or float32 where it is scaled."""
        if self.return_in_uV and self.recording.has_scaleable_traces():
            return np.dtype(np.float32)
        return np.dtype(self.recording.get_dtype())

    @property
    def access(self) -> Access:
        """Always ``Access.GRIDDED``."""
        return Access.GRIDDED

    def read(self, slab: Hyperslab) -> npt.NDArray[Any]:
        """Return the frames and channels of ``slab``. Independent; raises whatever the recording raises."""
        frames, channels = slab.slices
        if self.return_in_uV:
            return np.asarray(
                self.recording.get_traces(
                    segment_index=self.segment_index,
                    start_frame=frames.start,
                    end_frame=frames.stop,
                    channel_ids=self.recording.channel_ids[channels],
                    return_in_uV=True,
                )
            )
        # The segment is asked directly: looking channels up by name costs 50 times the call for 384 of them.
        segment = self.recording.segments[self.segment_index]
        return np.asarray(segment.get_traces(frames.start, frames.stop, channels))

    def __getstate__(self) -> dict[str, Any]:
        """Return the recording to pickle.

        Raises
        ------
        SourceError
            The recording lives in memory.
        """
        if not self.recording.check_serializability("pickle"):
            raise SourceError(
                "a recording is sent to other ranks by its own pickle, this one has none",
                where=type(self.recording).__name__,
                remedy="Save the recording to a file first, or build the NWBFile on every rank",
            )
        return dict(self.__dict__)


def recording_source(recording: BaseRecording, segment_index: int = 0, return_in_uV: bool = False) -> Source:
    """Return the best source for one segment of a recording. Independent.

    An unprocessed recording of a raw file is read from the file itself, bypassing every layer above it.

    Raises
    ------
    SourceError
        The recording is a SpikeGLX one whose ``.meta`` and ``.bin`` disagree.
    """
    source = RecordingSource(recording, segment_index, return_in_uV)
    if return_in_uV:
        return source
    return _raw_source(source) or source


def _raw_source(through: RecordingSource) -> BinarySource | None:
    """Return the raw file behind an unprocessed neo recording, None unless it surely gives the same."""
    segment = through.recording.segments[through.segment_index]
    reader = segment.neo_reader if _is_plain_neo(segment) else None
    if reader is None or not reader.has_buffer_description_api:
        return None
    stream = reader.header["signal_streams"][segment.stream_index]
    buffer = reader.get_analogsignal_buffer_description(
        segment.block_index, segment.segment_index, str(stream["buffer_id"])
    )
    if buffer["type"] != "raw" or buffer.get("order", "C") != "C" or buffer.get("time_axis", 0) != 0:
        return None
    spikeglx = _is_spikeglx(reader)
    if spikeglx:
        check_spikeglx(buffer["file_path"])
    columns = _columns(reader.header["signal_channels"], stream, through.recording, buffer["shape"][1])
    if columns is None:
        return None
    source = BinarySource(
        Path(buffer["file_path"]), np.dtype(buffer["dtype"]), buffer["shape"], buffer["file_offset"], columns
    )
    return source if _same_ends(source, through, trusted=spikeglx) else None


def _is_plain_neo(segment: Any) -> bool:
    module = sys.modules.get("spikeinterface.extractors.neoextractors.neobaseextractor")
    return module is not None and type(segment) is module.NeoRecordingSegment and not segment.inverted_gain


def _is_spikeglx(reader: Any) -> bool:
    module = sys.modules.get("neo.rawio.spikeglxrawio")
    return module is not None and isinstance(reader, module.SpikeGLXRawIO)


def _columns(channels: npt.NDArray[Any], stream: Any, recording: BaseRecording, width: int) -> slice | None:
    """Return the columns of the buffer that the channels are, None unless they are one ascending run."""
    in_buffer = channels[channels["buffer_id"] == stream["buffer_id"]]
    positions = np.flatnonzero(in_buffer["stream_id"] == stream["id"])
    chosen = in_buffer[positions]
    wanted = list(recording.channel_ids)
    if (
        len(in_buffer) != width
        or len(wanted) == 0
        or wanted not in (list(chosen["id"]), list(chosen["name"]))
    ):
        return None
    first, last = int(positions[0]), int(positions[-1])
    return slice(first, last + 1) if last - first + 1 == len(positions) else None


def _same_ends(source: BinarySource, through: RecordingSource, *, trusted: bool) -> bool:
    """Compare shape, dtype, the first and the last frame of both ways."""
    if source.shape != through.shape or source.dtype != through.dtype:
        return False
    if source.shape[0] == 0:
        return True
    for frame in (0, source.shape[0] - 1):
        slab = Hyperslab((frame, 0), (1, source.shape[1]))
        try:
            if not np.array_equal(source.read(slab), through.read(slab)):
                return False
        except KeyError:
            # neo cannot read the four SYNC columns of a Quad-Base probe, of which it announced the stream.
            return trusted
    return True

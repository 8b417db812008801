"""What the values of a movie's frames become: grey as it is stored, colours as RGB; never fewer bits than there are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from parnwb.errors import SourceError

if TYPE_CHECKING:
    import av

Frames = npt.NDArray[Any]
# Of these PyAV hands out the very values that are stored. FFmpeg would scale grey of 12 bits to 16.
AS_STORED = re.compile(r"gray(f?\d+)?(le|be)?|gbrpf?\d+(le|be)|rgb24|rgb48(le|be)")
RGB_BITS = 8


def values_of(frame: av.VideoFrame) -> Frames:
    """Return a frame: grey values, and RGB of more than 8 bits, as they are stored; all else as RGB of 8 bits.

    Independent.

    Raises
    ------
    SourceError
        RGB of 8 bits would not hold what is stored, or this PyAV does not hand it out.
    """
    name = frame.format.name
    if AS_STORED.fullmatch(name):
        return _as_stored(frame)
    bits = max(component.bits for component in frame.format.components)
    # The components of a Bayer pattern tell how many of four values have each colour, not their bits.
    if bits > RGB_BITS or name.startswith("bayer_"):
        raise SourceError(
            f"a movie of pixels {name} has values that RGB of {RGB_BITS} bits, as which others show it, does not hold",
            remedy="Copy it with pixels that are kept as they are (ffmpeg -i IN -pix_fmt rgb48le -c:v ffv1 OUT.mkv; or "
            "gray16le), or with -pix_fmt rgb24 if 8 bits will do; or leave it outside of the file",
        )
    values: Frames = frame.to_ndarray(format="rgb24")
    return values


def _as_stored(frame: av.VideoFrame) -> Frames:
    try:
        values: Frames = frame.to_ndarray()
    except ValueError as error:  # known to later releases
        raise SourceError(
            f"this PyAV does not hand out pixels {frame.format.name}: {error}", remedy="pip install --upgrade av"
        ) from error
    return values.astype(values.dtype.newbyteorder("="), copy=False)

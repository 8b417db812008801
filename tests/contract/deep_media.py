"""Movies of more than 8 bits, and TIFF files whose pages are told of in many ways; by PyAV and tifffile alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from contract.inputs import Array

FRAMES, HEIGHT, WIDTH = 7, 24, 36  # no multiple of what FFmpeg pads rows to


def values(bits: int, colours: bool = False) -> Array:
    """Return frames with every bit in use, of which no two are alike."""
    shape = (FRAMES, HEIGHT, WIDTH, 3) if colours else (FRAMES, HEIGHT, WIDTH)
    return np.random.default_rng(bits).integers(0, 2**bits, shape, dtype="u2")


@dataclass(frozen=True)
class Deep:
    """A movie: its codec, its container, its pixels and their bits, and how FFmpeg decodes them."""

    codec: str
    suffix: str
    pixels: str
    bits: int
    planes: str = "grey"

    @property
    def frames(self) -> Array:
        return values(self.bits, self.planes != "grey")


DEEP = {
    "grey9": Deep("ffv1", "mkv", "gray9le", 9),
    "grey10": Deep("ffv1", "mkv", "gray10le", 10),
    "grey12": Deep("ffv1", "mkv", "gray12le", 12),
    "grey16": Deep("ffv1", "mkv", "gray16le", 16),
    "big_endian": Deep("png", "mov", "gray16be", 16),
    "colours10": Deep("ffv1", "mkv", "gbrp10le", 10, "planes"),
    "colours12": Deep("ffv1", "mkv", "gbrp12le", 12, "planes"),
    "colours16": Deep("ffv1", "mkv", "rgb48le", 16, "packed"),
    "big_endian_colours": Deep("png", "mov", "rgb48be", 16, "packed"),
}


def write_deep(folder: Path, deep: Deep, name: str) -> Path:
    """Write a movie without losses, its values put into FFmpeg's frames as they are."""
    import av

    path = folder / f"{name}.{deep.suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(deep.codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, deep.pixels
        for number, picture in enumerate(deep.frames):
            frame = av.VideoFrame(WIDTH, HEIGHT, deep.pixels)
            # FFmpeg's planes of colours are green, blue and red.
            pictures = [picture[..., n] for n in (1, 2, 0)] if deep.planes == "planes" else [picture]
            for plane, part in zip(frame.planes, pictures, strict=True):
                rows = np.zeros((HEIGHT, plane.line_size // 2), ">u2" if deep.pixels.endswith("be") else "<u2")
                flat = part.reshape(HEIGHT, -1)
                rows[:, : flat.shape[1]] = flat
                plane.update(rows.tobytes())
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_lossy_ten_bits(path: Path) -> None:
    """Write a movie of the kind that cameras make: 10 bits of brightness, and colours in fewer places."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p10le"
        for number, picture in enumerate(values(16)):
            frame = av.VideoFrame.from_ndarray(picture, format="gray16le").reformat(format="yuv420p10le")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _loop(path: Path, frames: Array) -> None:
    import tifffile

    with tifffile.TiffWriter(path) as writer:
        for frame in frames:
            writer.write(frame, photometric="minisblack")


def _appended(path: Path, frames: Array) -> None:
    import tifffile

    for number, frame in enumerate(frames):
        tifffile.imwrite(path, frame, append=number > 0, photometric="minisblack")


def _whole(**settings: object) -> Callable[[Path, Array], None]:
    def write(path: Path, frames: Array) -> None:
        import tifffile

        tifffile.imwrite(path, frames, **{"photometric": "minisblack", **settings})

    return write


def _with_thumbnails(path: Path, frames: Array) -> None:
    import tifffile

    with tifffile.TiffWriter(path) as writer:
        for frame in frames:
            writer.write(frame, photometric="minisblack", compression="zlib")
            writer.write(frame[::4, ::4], photometric="minisblack", subfiletype=1)


def _behind_a_thumbnail(path: Path, frames: Array) -> None:
    """A series that comes first and is none of the frames, though it has their shape."""
    import tifffile

    with tifffile.TiffWriter(path) as writer:
        writer.write(frames[0] // 2, photometric="minisblack", subfiletype=1)
        writer.write(frames, photometric="minisblack")


def _in_turns(path: Path, frames: Array) -> None:
    """Pages of two kinds of storage, of which readers make two series."""
    import tifffile

    with tifffile.TiffWriter(path) as writer:
        for number, frame in enumerate(frames):
            writer.write(frame, photometric="minisblack", compression="zlib" if number % 2 else None, metadata=None)


STACKS: dict[str, Callable[[Path, Array], None]] = {
    "loop": _loop,
    "appended": _appended,
    "thumbnails": _with_thumbnails,
    "behind_a_thumbnail": _behind_a_thumbnail,
    "in_turns": _in_turns,
    "without_pages": _whole(truncate=True),
    "without_pages_big_endian": _whole(truncate=True, byteorder=">"),
    "without_pages_of_imagej": _whole(truncate=True, imagej=True, photometric=None),
    "big_endian": _whole(byteorder=">"),
    "of_imagej": _whole(imagej=True, photometric=None),
    "compressed": _whole(compression="zlib"),
}


def write_stack(folder: Path, name: str) -> tuple[Path, Array]:
    """Write a TIFF file, and return it with its frames."""
    path, frames = folder / f"{name}.tif", values(12)
    STACKS[name](path, frames)
    return path, frames


def write_two_kinds(path: Path) -> None:
    """Write a TIFF file with frames of two shapes, of which the first series is not all."""
    import tifffile

    with tifffile.TiffWriter(path) as writer:
        writer.write(values(12), photometric="minisblack")
        writer.write(values(12)[:, :8], photometric="minisblack")

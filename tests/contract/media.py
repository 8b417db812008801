"""Files that other libraries read: TIFF stacks, videos, a raw recording."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import tifffile
from contract.inputs import Array

FRAMES, HEIGHT, WIDTH = 61, 24, 32
SAMPLES, CHANNELS = 30_000, 16
TICKS = 512  # of a frame's duration, in OpenCV's mp4 files of 25 frames a second


def prepare_media(folder: Path) -> None:
    """Create the files that cases of libraries read."""
    stack = np.random.default_rng(1).integers(0, 4096, (FRAMES, HEIGHT, WIDTH), dtype="u2")
    tifffile.imwrite(folder / "one.tif", stack)
    for number, part in enumerate(np.array_split(stack, 3)):
        tifffile.imwrite(folder / f"part{number}.tif", part, compression="zlib")
    _write_video(folder / "video.avi", "MJPG", scene())
    _write_video(folder / "video.mp4", "mp4v", scene())
    dark = np.zeros((20, HEIGHT, WIDTH, 3), "u1")
    _write_video(folder / "dark.avi", "MJPG", np.concatenate([dark, scene()]))
    uneven = [TICKS * (5 if number % 10 == 9 else 1) for number in range(FRAMES)]
    (folder / "uneven.mp4").write_bytes(_timed((folder / "video.mp4").read_bytes(), uneven))
    noise = np.random.default_rng(2).normal(0, 300, (SAMPLES, CHANNELS)) + 1000  # the offset rings at every border
    noise.astype("i2").tofile(folder / "recording.raw")


def scene() -> Array:
    """Return frames of which no two are alike, even after compression."""
    noise = np.random.default_rng(3).integers(0, 255, (HEIGHT, WIDTH, 3), dtype="u1")
    texture = cv2.GaussianBlur(noise, (9, 9), 3) // 2
    return np.stack([np.roll(texture, 3 * number, axis=1) + np.uint8(2 * number) for number in range(FRAMES)])


def _write_video(path: Path, code: str, frames: Array) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 25, (WIDTH, HEIGHT))
    assert writer.isOpened(), f"OpenCV cannot write {path.name}"
    for frame in frames:
        writer.write(frame)
    writer.release()


def _timed(movie: bytes, durations: list[int]) -> bytes:
    """Return an mp4 file whose frames last as long as given: a camera that skips, which OpenCV cannot write."""
    out = b""
    for kind, body in _boxes(movie):
        if kind == b"edts":
            continue  # it would end the film where it ended before
        if kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
            body = _timed(body, durations)
        elif kind == b"stts":
            body = struct.pack(">II", 0, len(durations)) + b"".join(struct.pack(">II", 1, d) for d in durations)
        elif kind in (b"mdhd", b"mvhd"):
            (scale,) = struct.unpack_from(">I", body, 12)
            body = body[:16] + struct.pack(">I", sum(durations) * scale // (25 * TICKS)) + body[20:]
        out += struct.pack(">I4s", len(body) + 8, kind) + body
    return out


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        yield kind, data[at + 8 : at + size]
        at += size

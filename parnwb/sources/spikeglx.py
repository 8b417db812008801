"""What a SpikeGLX ``.meta`` says about its ``.bin``, and whether it is true.

The readers in use take the length from the file's size and the width from the .meta, and never compare: a
truncated file is a shorter recording to them, and a wrong channel count a garbled one.
"""

from __future__ import annotations

from pathlib import Path

from parnwb.errors import SourceError

SAMPLE_BYTES = 2
"""All SpikeGLX binary files hold int16."""

_CHANNEL_COUNTS = ("snsApLfSy", "snsMnMaXaDw", "snsXaDwSy")
"""Per kind of device, the keys that say how many channels of each type were saved."""


def check_spikeglx(bin_path: Path | str) -> None:
    """Check that a SpikeGLX ``.bin`` and its ``.meta`` agree. Independent; reads no samples.

    Parameters
    ----------
    bin_path
        The ``.bin`` file; its ``.meta`` lies beside it.

    Raises
    ------
    SourceError
        One of the two is missing, the file is empty, truncated or padded, or the channel counts disagree.
    """
    path = Path(bin_path)
    meta = read_meta(path.with_suffix(".meta"))
    if not path.is_file():
        raise SourceError(
            "a SpikeGLX .meta must have its .bin beside it: the .bin is missing",
            where=str(path),
            remedy="Copy the .bin here, or move the lone .meta away",
        )
    channels = _saved_channels(meta, path)
    _check_size(path, path.stat().st_size, channels, meta.get("fileSizeBytes"))


def read_meta(path: Path) -> dict[str, str]:
    """Return the entries of a ``.meta`` file. Independent.

    Raises
    ------
    SourceError
        The file is missing or is not text of ``key=value`` lines.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise SourceError(
            f"a SpikeGLX .bin needs its .meta beside it: {error.strerror}",
            where=str(path),
            remedy="Copy the .meta that SpikeGLX wrote with the .bin to the same folder",
        ) from error
    return dict(line.split("=", 1) for line in lines if "=" in line)


def find_spikeglx(folder: Path | str) -> list[Path]:
    """Return the SpikeGLX ``.bin`` files below ``folder``, those that should lie beside a ``.meta`` too.

    Independent. A file is known by its name, or by what the ``.meta`` beside it says.
    """
    found = set()
    for path in Path(folder).rglob("*"):
        told = path.suffix == ".meta" and "typeThis" in read_meta(path)
        if told or path.name.endswith((".ap.bin", ".lf.bin", ".nidq.bin")):
            found.add(path.with_suffix(".bin"))
    return sorted(found)


def _saved_channels(meta: dict[str, str], path: Path) -> int:
    """Return nSavedChans, checked against the counts of each type of channel."""
    where = str(path.with_suffix(".meta"))
    channels = _integer(meta.get("nSavedChans"), "nSavedChans", where)
    if channels < 1:
        raise SourceError(f"nSavedChans must be positive, got {channels}", where=where, remedy=_RESTORE)
    for key in _CHANNEL_COUNTS:
        if key in meta:
            total = sum(_integer(part, key, where) for part in meta[key].split(","))
            if total != channels:
                raise SourceError(
                    f"nSavedChans must be the sum of {key}: nSavedChans={channels}, {key}={meta[key]}",
                    where=where,
                    remedy=_RESTORE,
                )
    return channels


def _check_size(path: Path, size: int, channels: int, announced: str | None) -> None:
    row = channels * SAMPLE_BYTES
    if announced is not None and (expected := _integer(announced, "fileSizeBytes", str(path))) != size:
        state = "truncated" if size < expected else "padded, or still being written"
        raise SourceError(
            f"a SpikeGLX .bin must have the size that its .meta announces: fileSizeBytes={expected}, the "
            f"file has {size} bytes: it is {state}",
            where=str(path),
            remedy="Copy the file again, or correct the .meta if the file was cut on purpose",
        )
    if size % row or size == 0:
        raise SourceError(
            f"a SpikeGLX .bin must hold whole samples of all channels: {size} bytes are not a positive "
            f"multiple of nSavedChans * {SAMPLE_BYTES} = {row}",
            where=str(path),
            remedy="The file is truncated, or nSavedChans is wrong",
        )


_RESTORE = "Restore the .meta that SpikeGLX wrote"


def _integer(text: str | None, key: str, where: str) -> int:
    try:
        return int(text or "")
    except ValueError:
        raise SourceError(f"{key} must be an integer, got {text!r}", where=where, remedy=_RESTORE) from None

"""What a SpikeGLX ``.meta`` says about its ``.bin``, and whether it is true.

The readers in use take the length from the file's size and the width from the .meta, and never compare: a
truncated file is a shorter recording to them, and a wrong channel count a garbled one.
"""

from __future__ import annotations

import warnings
from pathlib import Path

from parnwb.errors import SourceError

SAMPLE_BYTES = 2
"""All SpikeGLX binary files hold int16."""

_NEEDED = {
    "imec": ("imAiRangeMax", "imSampRate", "~imroTbl"),
    "nidq": ("niAiRangeMax", "niMNGain", "niMAGain", "niSampRate", "snsMnMaXaDw"),
}
_NEEDED_OF_ALL = ("fileCreateTime", "fileName", "nSavedChans", "snsSaveChanSubset", "~snsChanMap")
"""Per kind of device, the keys without which readers fail, each with an error about something else."""

_PART_NUMBERS = ("imDatPrb_pn", "imProbeOpt")
"""Keys of a probe's type: of these one is enough."""

_RATES = {"imec": "imSampRate", "nidq": "niSampRate"}

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
        One of the two is missing, the .meta lacks what readers need, the file is empty, truncated or padded, or the
        channel counts disagree.

    Warns
    -----
    UserWarning
        The .meta does not say how long the file must be.
    """
    path = Path(bin_path)
    meta = read_meta(path.with_suffix(".meta"))
    if not path.is_file():
        raise SourceError(
            "a SpikeGLX .meta must have its .bin beside it: the .bin is missing",
            where=str(path),
            remedy="Copy the .bin here, or move the lone .meta away",
        )
    _check_keys(meta, str(path.with_suffix(".meta")))
    channels = _saved_channels(meta, path)
    _check_size(path, path.stat().st_size, channels, meta.get("fileSizeBytes"))
    if "fileSizeBytes" not in meta:
        _check_duration(path, path.stat().st_size // (channels * SAMPLE_BYTES), meta)


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


def _check_keys(meta: dict[str, str], where: str) -> None:
    """Refuse a .meta that lacks keys, or has numbers that are none."""
    device = meta.get("typeThis", "")
    needed = (*_NEEDED_OF_ALL, *_NEEDED[device]) if device in _NEEDED else ("nSavedChans",)
    missing = [key for key in needed if key not in meta]
    if device == "imec" and not any(key in meta for key in _PART_NUMBERS):
        missing.append(_PART_NUMBERS[0])
    if missing:
        raise SourceError(
            f"a SpikeGLX .meta must have the keys that readers need: {', '.join(missing)} not found",
            where=where,
            remedy=_RESTORE,
        )
    for key in needed:
        if key.endswith(("Max", "Gain", "Rate")):
            _number(meta[key], key, where)
        elif key.startswith("~") and not meta[key].startswith("("):
            raise SourceError(
                f"{key} must be a list in parentheses, got {meta[key][:40]!r}", where=where, remedy=_RESTORE
            )


def _check_duration(path: Path, samples: int, meta: dict[str, str]) -> None:
    """Compare a file, of which no size is told, with the seconds that it lasts; warn where these are not told either.

    Seconds are rounded to as many decimals as they have.
    """
    rate = meta.get(_RATES.get(meta.get("typeThis", ""), ""))
    seconds = meta.get("fileTimeSecs")
    where = str(path.with_suffix(".meta"))
    if rate is None or seconds is None:
        warnings.warn(
            f"nothing in {where} tells how long the recording is (fileSizeBytes, fileTimeSecs): nobody "
            f"can tell whether its .bin was cut off, which has {samples} samples",
            stacklevel=4,
        )
        return
    expected = _number(seconds, "fileTimeSecs", where) * _number(rate, _RATES[meta["typeThis"]], where)
    rounding = 0.5 * 10.0 ** -len(seconds.partition(".")[2]) * float(rate)
    if abs(expected - samples) > 1 + rounding:
        raise SourceError(
            f"a SpikeGLX .bin must be as long as its .meta announces: fileTimeSecs={seconds} at {rate} Hz are "
            f"{round(expected)} samples, the file has {samples}",
            where=str(path),
            remedy="Copy the file again, or correct the .meta if the file was cut on purpose",
        )


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


def _number(text: str, key: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SourceError(f"{key} must be a number, got {text!r}", where=where, remedy=_RESTORE) from None

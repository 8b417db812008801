"""What ``compression=`` may be, for bulk data without a filter of their own, and what HDF5 is told of it."""

from __future__ import annotations

from typing import Any

from parnwb.errors import CodecError, ParnwbError

Compression = str | int | None
GZIP_LEVEL = 4
# With a name and a level, or the name alone for the level that follows it here.
LEVELS = {"gzip": (0, 9, GZIP_LEVEL), "zstd": (1, 22, 3), "blosc2-zstd": (1, 9, 5)}
PLUGINS = ("zstd", "blosc2-zstd", "bitshuffle-lz4")
NAMES = ("auto", "none", *LEVELS, "bitshuffle-lz4")


def check_compression(compression: Compression) -> None:
    """Refuse a compression that means nothing. Independent.

    Raises
    ------
    ParnwbError
        It is none of None, a gzip level of 0 to 9, and the names, with a level after a hyphen where they have one.
    """
    if compression is None or _is_level(compression):
        return
    name, level = _parted(compression)
    if name not in NAMES or (level is not None and not _has_level(name, level)):
        ranges = ", ".join(f"{known} ({least} to {most})" for known, (least, most, _) in LEVELS.items())
        raise ParnwbError(
            f"compression must be None, a gzip level 0-9 or one of {', '.join(map(repr, NAMES))}, got {compression!r}",
            remedy=f"A level may follow the name, as in 'zstd-5': {ranges}",
        )


def is_none(compression: Compression) -> bool:
    """Tell whether data stay as they are. Independent."""
    return compression is None or compression == "none"


def needs_plugin(compression: Compression) -> bool:
    """Tell whether readers need one of HDF5's plugins. Independent."""
    return isinstance(compression, str) and _parted(compression)[0] in PLUGINS


def filter_settings(compression: Compression) -> dict[str, Any]:
    """Return the keywords with which h5py creates a dataset that is compressed so; not for ``'auto'``. Independent.

    Raises
    ------
    CodecError
        A plugin is asked for and ``hdf5plugin`` is not installed.
    """
    name, level = parted(compression)
    if name == "gzip":
        return {"compression": "gzip", "compression_opts": level}
    try:
        import hdf5plugin
    except ImportError as error:
        raise CodecError(
            f"compression {compression!r} is a filter of hdf5plugin, which is not installed",
            remedy="pip install 'parnwb[plugins]', or choose 'auto' or 'gzip', which every reader has",
        ) from error
    made = {
        "zstd": lambda: hdf5plugin.Zstd(clevel=level),
        "blosc2-zstd": lambda: hdf5plugin.Blosc2(cname="zstd", clevel=level, filters=hdf5plugin.Blosc2.SHUFFLE),
        "bitshuffle-lz4": lambda: hdf5plugin.Bitshuffle(cname="lz4"),
    }[name]()
    return dict(made)


def parted(compression: Compression) -> tuple[str, int]:
    """Return the name of a compression, and its level: the one that is given, or the one that its name stands for.

    Independent; not for None.
    """
    name, given = ("gzip", compression) if isinstance(compression, int) else _parted(compression)
    return name, given if given is not None else LEVELS[name][2] if name in LEVELS else 0


def _is_level(compression: object) -> bool:
    return isinstance(compression, int) and not isinstance(compression, bool) and 0 <= compression <= 9


def _parted(compression: object) -> tuple[str, int | None]:
    """Return name and level of ``'name-level'``; the level is None where there is none."""
    text = compression if isinstance(compression, str) else ""
    name, _, digits = text.rpartition("-")
    return (name, int(digits)) if name and digits.isdigit() else (text, None)


def _has_level(name: str, level: int) -> bool:
    return name in LEVELS and LEVELS[name][0] <= level <= LEVELS[name][1]

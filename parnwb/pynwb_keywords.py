"""Keywords of ``NWBHDF5IO`` that ``NWBParallelIO`` has no use for: taken where they change nothing, else refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from parnwb.errors import ParnwbError

MOUNTED = "Give the path of a file that this machine has or mounts; NWBHDF5IO reads what is elsewhere"
REFUSED = {
    "file": "Give its path: a file that one process has open is of no use to the others",
    "driver": MOUNTED,
    "aws_region": MOUNTED,
}
TAKEN = ("herd_path",)  # parnwb.herd


def check_pynwb_keywords(given: Mapping[str, Any], mode: str) -> None:
    """Refuse keywords that would mean something; take those with the value that they have by default. Independent.

    Parameters
    ----------
    given
        All keywords that ``NWBParallelIO`` does not have.
    mode
        Of the file: namespaces that are cached in it matter where it is read.

    Raises
    ------
    TypeError
        ``NWBHDF5IO`` has no such keyword either.
    ParnwbError
        What it would do there cannot be done here.
    """
    for name, value in given.items():
        if name == "load_namespaces":
            if not value and mode in ("a", "r+"):
                raise ParnwbError(
                    "the namespaces that are cached in a file are always loaded, got load_namespaces=False",
                    remedy="Leave it out, or give manager= with the namespaces to take instead",
                )
        elif name in TAKEN:
            continue
        elif name not in REFUSED:
            raise TypeError(f"NWBParallelIO has no keyword {name!r}, nor has NWBHDF5IO")
        elif value is not None:
            raise ParnwbError(f"{name} is not for files that many ranks write, got {value!r}", remedy=REFUSED[name])

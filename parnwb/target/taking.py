"""Whether a folder takes files: known only by making one."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from parnwb.errors import TargetError


def check_takes(path: Path, rule: str, where: Path, remedy: str) -> None:
    """Refuse a place where no file can be made, by making one and removing it. Independent.

    Parameters
    ----------
    path
        Of that file. One that is there stays.
    rule
        What cannot be, for the message.
    where
        What the message names.
    remedy
        What helps.

    Raises
    ------
    TargetError
        None can be made there.
    """
    try:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            path.unlink()
    except OSError as error:
        raise TargetError(f"{rule}: {error.strerror}", where=str(where), remedy=remedy) from error

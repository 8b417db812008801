"""Who takes which session next: a small file for each that is taken, which only one team can create.

Messages would need a rank that answers at any time, and all ranks are at work.
"""

from __future__ import annotations

import glob
import os
import secrets
import shutil
from pathlib import Path

from parnwb.errors import TargetError


class Turns:
    """Gives the numbers ``begin`` to ``end`` to teams, each to one. Independent; called by leaders of teams.

    Parameters
    ----------
    folder
        Which all leaders see; made by ``prepare``.
    begin, end
        The first number, and that after the last.
    """

    def __init__(self, folder: Path, begin: int, end: int) -> None:
        self._folder, self._next, self._end = folder, begin, end

    def take(self) -> int | None:
        """Return the next number that nobody has; None where there is none."""
        while self._next < self._end:
            number, self._next = self._next, self._next + 1
            try:
                os.close(os.open(self._folder / str(number), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            except FileExistsError:
                continue
            except OSError as error:
                raise TargetError(
                    f"the folder in which teams take turns cannot be used: {error.strerror}",
                    where=str(self._folder),
                    remedy="Write the results (--results) to a folder that all hosts share",
                ) from error
            return number
        return None


def prepare(results: Path) -> Path:
    """Make the folder for one run beside its results, and remove those of earlier runs. Independent; on the root.

    Raises
    ------
    TargetError
        It cannot be made.
    """
    for left in results.parent.glob(f"{glob.escape(results.name)}.turns-*"):
        finish(left)
    folder = results.with_name(f"{results.name}.turns-{secrets.token_hex(4)}")
    try:
        folder.mkdir()
    except OSError as error:
        raise TargetError(
            f"the results cannot be written there: {error.strerror}",
            where=str(results),
            remedy="Choose another place with --results",
        ) from error
    return folder


def finish(folder: Path) -> None:
    """Remove the folder of one run. Independent; on the root."""
    shutil.rmtree(folder, ignore_errors=True)

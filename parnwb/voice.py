"""How parnwb speaks: records of the logger ``parnwb`` that know rank and host, and last words where a job ends."""

from __future__ import annotations

import logging
import socket
import sys
import threading
from contextlib import suppress
from typing import Any

NAME = "parnwb"
LAST_WORDS_SECONDS = 1.0
# What people are to see whether or not they asked for more: between logging's INFO and WARNING.
NOTICE = 25


def say(level: int, part: str, text: str, rank: int = 0, host: str | None = None, **more: Any) -> None:
    """Log a text as ``parnwb.PART``, with the rank and the host that it is about. Independent.

    The caller sees to it that one rank speaks for all.

    Parameters
    ----------
    level
        Of ``logging``.
    more
        Further attributes of the record, such as the event that it tells of.
    """
    logger = logging.getLogger(f"{NAME}.{part}")
    if logger.isEnabledFor(level):
        extra = {"rank": rank, "host": socket.gethostname() if host is None else host, **more}
        logger.log(level, "%s", text, extra=extra)


def last_words(text: str, rank: int, host: str | None = None) -> None:
    """Say on standard error, and in the log, why this process ends here. Independent; from any thread.

    Nobody can catch what is said here, so it is written whether or not anybody listens to the logger. A listener that
    hangs, on a disk or a lock of a thread that is stuck, is waited for no longer than a second.
    """

    def speak() -> None:
        with suppress(Exception):
            sys.stderr.write(f"{NAME}: {text}\n")  # in one piece: launchers mix what they get
            sys.stderr.flush()
        with suppress(Exception):
            say(logging.CRITICAL, "job", text, rank, host, is_said=True)

    thread = threading.Thread(target=speak, daemon=True)
    try:
        thread.start()
    except RuntimeError:  # Python 3.12 and newer start no thread any more when the interpreter ends
        speak()
    else:
        thread.join(LAST_WORDS_SECONDS)

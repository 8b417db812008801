"""Errors on their way from one rank to the others."""

from __future__ import annotations

import pickle
import socket

from parnwb.errors import ParnwbError, RemoteError


def describe(error: BaseException, rank: int) -> str:
    """Return one line for an error: its text, the rank and the host."""
    kind = "" if isinstance(error, ParnwbError) else f"{type(error).__name__}: "
    return f"{kind}{error} (rank {rank} on {socket.gethostname()})"


def portable(error: BaseException, rank: int) -> tuple[bytes | None, str]:
    """Return an exception as bytes that load on another rank, None where it cannot be sent, and as text.

    ``SystemExit`` and its like are not sent as themselves: a rank that exits with 0 must not let all succeed. Nor is
    ``StopIteration``, which Python makes into another error where a generator such as ``agreed`` raises it.
    """
    try:
        text = describe(error, rank)
    except Exception:  # noqa: BLE001 - an error whose text fails is an error all the same
        text = f"{type(error).__name__} (rank {rank} on {socket.gethostname()})"
    try:
        raw = pickle.dumps(error)
        sendable = isinstance(error, Exception) and not isinstance(error, StopIteration)
        if sendable and type(pickle.loads(raw)) is type(error):
            return raw, text
    except Exception:  # noqa: BLE001 - whatever goes wrong here, the text of the error still travels
        pass
    return None, text


def unpacked(raw: bytes | None, text: str) -> BaseException:
    """Return the exception of another rank, as itself or as a ``RemoteError``."""
    try:
        if raw is not None:
            error: BaseException = pickle.loads(raw)
            return error
    except Exception:  # noqa: BLE001 - its class is not known here
        pass
    return RemoteError(text)

"""The exception family: every error says rule, value, place and remedy, in that order."""

from __future__ import annotations


class ParnwbError(Exception):
    """Base of all errors that parnwb raises on purpose.

    Parameters
    ----------
    message
        The rule that was broken and the value that broke it.
    where
        The place: a dataset path, a file, a rank.
    remedy
        What the user can do about it.
    """

    def __init__(self, message: str, *, where: str | None = None, remedy: str | None = None) -> None:
        super().__init__(message, where, remedy)
        self.message = message
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        text = self.message
        if self.where:
            text += f" [at {self.where}]"
        if self.remedy:
            text += f". {self.remedy}"
        return text

    def __reduce__(self) -> tuple[object, ...]:
        # Errors travel between ranks by pickle; keyword-only arguments do not survive the default way.
        return _rebuild, (type(self), self.message, self.where, self.remedy)


def _rebuild(kind: type[ParnwbError], message: str, where: str | None, remedy: str | None) -> ParnwbError:
    return kind(message, where=where, remedy=remedy)


class LayoutError(ParnwbError):
    """A dataset cannot be laid out as asked: shape, chunks, dtype or filters do not fit."""


class PlanError(ParnwbError):
    """A decomposition or a memory budget that cannot work."""


class SourceError(ParnwbError):
    """A source raised, or returned data of another shape or dtype than it had announced."""


class CodecError(ParnwbError):
    """A filter that cannot be applied on this machine."""


class AgreementError(ParnwbError):
    """Ranks were given different things, or are not in the same call."""


class LaunchError(ParnwbError):
    """The MPI job was not started as one world of ranks."""


class TargetError(ParnwbError):
    """The output file or its folder cannot be used."""


class StorageError(ParnwbError):
    """Writing bytes to the file failed."""


class RemoteError(ParnwbError):
    """An exception of another rank that could not be sent as itself; its text is in the message."""


class VerificationError(ParnwbError):
    """A written file is not what it should be."""


class ResumeError(ParnwbError):
    """An interrupted job cannot be resumed from what is there."""


class Interrupted(ParnwbError):
    """The job was asked to stop; what it had done is committed, and a new one can resume it."""


class LinkError(ParnwbError):
    """What a file links to is not there, will not stay there, or is not what the container says."""

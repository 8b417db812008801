"""Where a file goes: its names, the bytes on disk, the lock beside it, and its permissions."""

from parnwb.target.disk import MAX_CALL_BYTES, ExistingBytes, FileBytes, identity, sync_folder
from parnwb.target.folder import FolderTarget, stored_bytes
from parnwb.target.folder_files import FolderFiles
from parnwb.target.lock import Lock
from parnwb.target.permissions import Permissions, create_file
from parnwb.target.process import Process
from parnwb.target.spread import Part, SpreadTarget
from parnwb.target.target import TOKEN_BYTES, Target, tell_nobody

__all__ = [
    "MAX_CALL_BYTES",
    "TOKEN_BYTES",
    "ExistingBytes",
    "FileBytes",
    "FolderFiles",
    "FolderTarget",
    "Lock",
    "Part",
    "Permissions",
    "Process",
    "SpreadTarget",
    "Target",
    "create_file",
    "identity",
    "stored_bytes",
    "sync_folder",
    "tell_nobody",
]

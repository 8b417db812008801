"""Files that are written once more by all ranks: repacked, merged, split."""

from parnwb.repacking.repack import merge, repack
from parnwb.repacking.result import Change, Repacked
from parnwb.repacking.split import split

__all__ = ["Change", "Repacked", "merge", "repack", "split"]

"""Chunks to bytes: what is stored is what HDF5's own filters decode, made outside of HDF5."""

from parnwb.codec.assembler import ChunkAssembler
from parnwb.codec.choose import Choice, choose_coding, coder_for, stored_share
from parnwb.codec.pipeline import Pipeline, open_pipeline

__all__ = ["Choice", "ChunkAssembler", "Pipeline", "choose_coding", "coder_for", "open_pipeline", "stored_share"]

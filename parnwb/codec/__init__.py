"""Chunks to bytes: what is stored is what HDF5's own filters decode, made outside of HDF5."""

from parnwb.codec.assembler import ChunkAssembler
from parnwb.codec.choose import Choice, choose_coding, coder_for, stored_share
from parnwb.codec.crew import Crew, check_threads, runs_in_threads, threads_here
from parnwb.codec.pipeline import open_pipeline
from parnwb.codec.protocol import Pipeline

__all__ = [
    "Choice",
    "ChunkAssembler",
    "Crew",
    "Pipeline",
    "check_threads",
    "choose_coding",
    "coder_for",
    "open_pipeline",
    "runs_in_threads",
    "stored_share",
    "threads_here",
]

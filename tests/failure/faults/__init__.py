"""Faults, each as a function that every rank runs; `program.py` runs many of them in one launch."""

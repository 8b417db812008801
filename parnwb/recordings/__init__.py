"""Recordings in vendors' formats, read with neuroconv: from a path to a file that is verified."""

"""Rows whose number is not known in advance: streams that programs append to, and generators."""

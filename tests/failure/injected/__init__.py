"""Calls of libc that fail on demand, on any rank, without root and without a file system of our own.

A library of a few lines is compiled by the tests and preloaded into their programs. A file system through FUSE would
need a device and a package, and the kernel would stand between: it repeats what is interrupted and hides short writes.
This way the k-th call of a kind on a file fails just as libc would tell it, and Python's own handling is in the test.
"""

"""``python -m parnwb``."""

from parnwb.cli import main

main()

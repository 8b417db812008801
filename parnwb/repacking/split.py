"""``split``: to be written."""


def split() -> None:
    """Do nothing yet."""

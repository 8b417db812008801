"""Files that nobody thought of: drawn at random, the same in every run."""

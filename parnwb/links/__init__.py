"""What leads out of a file: links that are checked before they are written, and followed when a file is verified."""

"""Checks before a run: missing files, and the memory that it needs."""

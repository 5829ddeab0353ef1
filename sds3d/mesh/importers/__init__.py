"""Readers of the mesh files of other programs, one format a file; the files are untrusted input."""

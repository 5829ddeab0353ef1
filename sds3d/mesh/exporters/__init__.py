"""Mesh file formats, a module each."""

"""Images: PNG, another size, normals as images."""

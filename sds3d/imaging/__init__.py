"""Images: PNG encoding, resizing, sRGB, normals as images."""

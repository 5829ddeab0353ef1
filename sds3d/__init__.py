"""sds3d: text to textured 3D assets by score distillation."""

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """`sds3d.rasterize`, which needs torch, is imported at its first use."""
    if name == "rasterize":
        from sds3d.renderers import rasterize

        return rasterize
    raise AttributeError(f"module 'sds3d' has no attribute {name!r}")

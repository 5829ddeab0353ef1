"""sds3d: text to textured 3D assets by score distillation."""

__version__ = "0.1.0"

"""Scenes with trainable parameters."""

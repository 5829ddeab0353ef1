"""Frozen diffusion models that guide the optimisation."""

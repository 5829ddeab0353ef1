"""The embedded prior: a small multi-view diffusion model and the program that trains it."""

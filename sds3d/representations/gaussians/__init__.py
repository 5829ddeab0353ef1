"""3D Gaussians as a trainable scene."""

"""Below Python: the device, compiled kernels and their loading, CUDA graphs."""

"""MVDream: a multi-view Stable Diffusion, from every layout of its checkpoints."""

"""One scene's loop: blocks of steps, what a step does, and what a checkpoint holds."""

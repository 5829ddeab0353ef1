"""Many assets from a file of prompts: plan, store, workers, engine, gallery."""

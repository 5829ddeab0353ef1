"""Before a run: what is missing, and how much memory it takes."""

"""What is on disk: a run's folder."""

"""What may be asked for: every option with its default, range and meaning, and how a config is read."""

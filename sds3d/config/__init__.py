"""The configuration: every option with its default, range and meaning, and the code that reads a config."""

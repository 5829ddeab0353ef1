"""How good samples and assets are: judges that guide nothing, metrics, and the captions they are tried on."""

"""Evaluation of samples and assets: judges that guide no optimization, metrics, and the training of our judge."""

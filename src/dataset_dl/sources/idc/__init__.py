"""The NCI Imaging Data Commons as a source: its index tables and what they answer."""

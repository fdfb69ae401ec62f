"""The NCI Imaging Data Commons as a source: its index tables and the queries on them."""

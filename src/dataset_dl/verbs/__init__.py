"""The verbs: what `dataset_dl` offers as functions."""

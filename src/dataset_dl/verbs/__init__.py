"""The verbs: the functions that `dataset_dl` exports."""

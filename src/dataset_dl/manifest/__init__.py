"""Manifests: the lines that s5cmd reads, and the files in which others name series."""

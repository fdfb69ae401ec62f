"""Manifests: s5cmd commands, and files of other programs that list series."""

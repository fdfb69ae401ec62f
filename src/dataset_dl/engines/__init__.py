"""Engines: what moves the bytes."""

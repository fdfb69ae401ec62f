"""Observers: callables that take events."""

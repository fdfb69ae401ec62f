"""s5cmd as an engine: find it, write its commands, parse its output, stop it."""

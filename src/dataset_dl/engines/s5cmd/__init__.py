"""s5cmd as an engine: found, given its commands, read and stopped here."""

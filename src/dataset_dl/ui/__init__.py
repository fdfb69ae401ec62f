"""How things are shown: listings, a bar in a terminal, lines elsewhere, JSON for programs."""

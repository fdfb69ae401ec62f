"""The nouns: frozen values without parsing."""

"""The nouns: frozen values, no parsing."""

"""Sources: from what a person names to the rows of a plan."""

"""The directory that a download goes to, and its records."""

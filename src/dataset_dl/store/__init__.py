"""S3 from Python: addresses, listing, and checking that a store answers."""

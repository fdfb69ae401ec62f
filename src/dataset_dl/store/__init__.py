"""S3 from Python: addresses, listing, and checking that an endpoint is a store."""

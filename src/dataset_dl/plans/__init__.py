"""Plans: a Parquet file with one row a series."""

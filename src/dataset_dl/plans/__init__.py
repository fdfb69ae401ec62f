"""Plans: a Parquet file with one row per series."""

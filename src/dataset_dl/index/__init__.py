"""The IDC tables: where they are, what they hold, what matches. The only room that imports duckdb."""

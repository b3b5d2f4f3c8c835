"""History from the configured endpoints into a folder of Parquet: what the engine would see live, block by block."""

"""Columns of texts for compiled code, read where they lie: letters, digits, and texts that have a number."""

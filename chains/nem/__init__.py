"""NEM (NIS1): blocks, account views and what waits, over the REST API of its nodes."""

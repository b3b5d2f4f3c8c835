"""Bitcoin and its relatives: blocks, addresses and work, and where they are read from."""

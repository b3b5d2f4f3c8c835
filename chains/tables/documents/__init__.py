"""Documents of blocks as history: answers of nodes and raw blocks, read by the chains' own decoders."""

"""The EVM family: blocks, traces, control changes and pending transactions over JSON-RPC."""

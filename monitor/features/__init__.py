"""The first fold: flows into per-(wallet, chain, asset) state, and one row of features an outflow."""

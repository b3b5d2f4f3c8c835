"""The first fold: flows into per-(wallet, chain, asset) state, and one row of features an outflow."""

from monitor import compiled as _compiled  # noqa: F401  (the kernels' cache folder, before the first kernel)

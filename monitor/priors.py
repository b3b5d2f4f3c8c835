"""Peer priors: what is usual for wallets in general, shipped as versioned constants.

A wallet's own daily maxima are shrunk to these. They come from simulated wallets (see docs/detection.md), never
from the other wallets of the same process. A change here changes results: raise `VERSION` and say so in the CHANGELOG.
"""

from __future__ import annotations

import numpy as np

__all__ = ["CHANNEL_SHARE", "PEER", "PRIORS", "SPLIT", "VERSION"]

VERSION = 2

SPLIT = 0.85  # part of the budget that the channels share
CHANNEL_SHARE = (0.60, 0.25, 0.15)  # fast, day, slow

PRIORS = np.dtype(
    [
        ("u", "f8", (11,)),  # log10 level that 30 % of active days exceed (10 % for what is paid again),
        ("s", "f8", (11,)),  # and log10 mean excess above it
        ("centre", "f8", (3,)),  # the same of the fused score, by channel (10 % for the slow one)
        ("width", "f8", (3,)),
        ("share", "f8", (3,)),  # of the budget, by channel; 0: the channel is not used
        ("pool_p", "f8", (6,)),  # chance a clean active day, falling ...
        ("pool_q", "f8", (3, 6)),  # ... and the standardised excess then exceeded, by channel
    ],
    align=True,
)

PEER = np.zeros(2, PRIORS)  # hot wallets, personal wallets
PEER["u"][0] = (-1.08, -1.08, -1.07, -1.00, -0.90, -0.70, -0.38, -0.97, -2.0, -1.7, -1.98)
PEER["s"][0] = (0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.35, 0.35, 0.31)
PEER["centre"][0] = (1.06, 0.63, -0.10)
PEER["width"][0] = (0.38, 0.38, 0.35)
PEER["share"][0] = CHANNEL_SHARE
PEER["pool_p"][0] = (0.30, 0.10, 0.033, 0.010, 0.0033, 0.001)
PEER["pool_q"][0] = (
    (0.0, 1.03, 2.13, 3.30, 4.60, 6.40),
    (0.0, 0.95, 2.00, 3.80, 5.80, 7.60),
    (-0.1, 0.0, 1.00, 3.10, 5.00, 6.90),
)
PEER["u"][1] = (-0.99, -0.99, -0.97, -0.66, -0.66, -0.96, -0.92, -0.83, -2.0, -1.82, -1.99)
PEER["s"][1] = (0.46, 0.46, 0.46, 0.46, 0.46, 0.45, 0.45, 0.47, 0.42, 0.43, 0.46)
PEER["centre"][1] = (0.70, 0.34, -0.20)
PEER["width"][1] = (0.51, 0.62, 0.62)
PEER["share"][1] = (1.0, 0.0, 0.0)  # single payments tell a holder's theft: the other channels only cost false alarms
PEER["pool_p"][1] = PEER["pool_p"][0]
PEER["pool_q"][1] = (
    (0.0, 1.14, 2.33, 3.63, 4.41, 5.21),
    (0.0, 1.29, 2.16, 2.88, 3.56, 4.16),
    (-0.1, 0.0, 0.01, 2.14, 3.46, 4.56),
)

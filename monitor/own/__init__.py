"""Detectors of users' own: a plain Python file with functions that look at payments, beside the built-in detectors.

::

    from monitor.own import detector

    @detector("NIGHT-1", "Large payment at night", parameters={"share": (0.05, 0, 1, "share of the balance")})
    def night(flow, view):
        "A payment of more than 5 % of the balance between midnight and five o'clock UTC."
        if view.time.hour < 5 and view.share is not None and view.share > view.number("share"):
            return "high", f"{view.amount} left at night"

`detector` makes a function a detector, `View` is what it gets beside the flow, `load_detectors` reads a file. They are
policies (`monitor.policies.base`): exact amounts, findings with a severity, memory that is stored and undone with its
block. The statistical channels are compiled and calibrated, and take no part from such a file.
"""

from __future__ import annotations

from monitor.own.card import OwnDetector, Said, detector
from monitor.own.load import OwnFile, load_detectors
from monitor.own.view import View

__all__ = ["OwnDetector", "OwnFile", "Said", "View", "detector", "load_detectors"]

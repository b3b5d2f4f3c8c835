"""What is known of addresses: who they belong to, from when on, and who says so.

`LabelBook` answers without I/O and is all that an engine needs. Reading files is apart: `monitor.labels.read` (any
format), `monitor.labels.load` (what a configuration names), `monitor.labels.imported` (the file of `labels import`).
"""

from __future__ import annotations

from monitor.labels.book import LabelBook
from monitor.labels.kind import LabelKind
from monitor.labels.label import Label

__all__ = ["Label", "LabelBook", "LabelKind"]

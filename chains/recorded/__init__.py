"""Recorded and constructed chains, served on 127.0.0.1 over the real protocols: for replay, drills and tests."""

"""Endpoints of one chain: what each of them is worth now, and which is asked."""

"""Prices in US dollars, for people to read: they come after detection, delay nothing and decide nothing."""

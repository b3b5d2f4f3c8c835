"""Alerts: routing, rendering and durable delivery of what people should know."""

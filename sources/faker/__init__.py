"""The faker source."""

"""The files source."""

"""The rest source."""

"""The kafka source."""

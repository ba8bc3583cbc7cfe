"""The karpet source."""

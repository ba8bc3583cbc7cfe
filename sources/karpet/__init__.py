"""Crypto news through the karpet client, with a replaceable endpoint.

settings.py reads the YAML, resource.py walks the coins, news.py asks, article.py reads a page.
"""

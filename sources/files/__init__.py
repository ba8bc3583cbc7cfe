"""Files: CSV, Parquet and JSON Lines in a folder or a bucket, each landed once, as Arrow.

settings.py is the YAML; listing.py and bucket.py find files; seen.py remembers them; the *_format.py read them.
"""

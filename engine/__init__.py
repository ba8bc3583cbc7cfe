"""The engine: reads pipelines.yaml, lands every resource once in the lake, loads every destination from it.

Follow the data: config/ -> compose -> extract -> conform/ -> lake/ -> load -> transform; run.py calls them in order.
"""

"""Faker: simulated customers, corporates and their transactions, seeded and drawn whole columns at a time.

Every row follows from the seed, its table and its number; settings.py is the YAML, resource.py keeps the position.
"""

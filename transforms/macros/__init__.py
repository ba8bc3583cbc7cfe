"""The macros that the models are written with: keys, numbers, and the vault's three kinds of table."""

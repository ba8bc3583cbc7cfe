"""The models: SQLMesh on a warehouse, what an edit changes, environments, checks, the semantic catalogue."""

"""The lake: immutable load packages under source/table/date/load_id, and one commit log a table under _log/."""

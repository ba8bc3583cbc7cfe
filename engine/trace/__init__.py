"""Where a row or a column comes from: back to landed rows by the data, down to landed columns by the text."""

"""`engine plan`: what the file and the models will do, and how an edit changes it."""

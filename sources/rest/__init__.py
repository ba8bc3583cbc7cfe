"""REST APIs declared in YAML: settings (words, templates) -> resource -> walks of pages -> rows.

A new API is a block of pipelines.yaml; nothing here knows any API by name.
"""

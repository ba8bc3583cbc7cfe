"""Configuration: pipelines.yaml -> values with positions -> validated models -> a Project."""

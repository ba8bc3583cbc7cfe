"""Pipelines on Prefect: one flow each, its deployment from pipelines.yaml, and a server beside it where none is named.

Prefect schedules, retries and shows; what a run does is the engine's own, the same as by `engine run`.
"""

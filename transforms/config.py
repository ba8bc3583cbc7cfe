"""Lets plain `sqlmesh -p transforms ...` work on the warehouse and the state of the active profile (ENGINE_PROFILE)."""

from pathlib import Path

from engine.models.plain_sqlmesh import configuration

config = configuration(Path(__file__).resolve().parents[1])

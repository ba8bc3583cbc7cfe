"""Conform: whatever a source yields becomes typed Arrow rows of the landed table, or rows set aside with a reason."""

from engine.conform.arrow_types import arrow_schema
from engine.conform.conformer import Conformed, Conformer

__all__ = ["Conformed", "Conformer", "arrow_schema"]

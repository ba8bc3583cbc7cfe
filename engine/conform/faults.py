"""What can be wrong with a value or a row, and the record kept of it."""

from __future__ import annotations

from dataclasses import dataclass

NOT_A_NUMBER = "not a number: the row is loaded with NULL here"
"""Reason of the one kind of quarantine row whose row is in the table all the same."""

MAX_TEXT_BYTES = 16_777_216
"""The longest text that every destination stores (Snowflake's VARCHAR)."""
CUT_ROW = 100_000
"""Characters of an original row that the quarantine keeps."""
CUT_VALUE = 1_000
"""Characters of an offending value that the quarantine keeps."""


class MisfitError(ValueError):
    """A value that its column cannot hold exactly; the message is the reason, without the value."""


class NotANumberError(ValueError):
    """NaN or an infinity for a number column: NULL by rule, and counted."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a row was set aside, or a value became NULL.

    `column` is None where the row as a whole is at fault. `typed` says that a value does not fit its column's type:
    the faults that `data_type: freeze` turns into an error.
    """

    column: str | None
    reason: str
    value: str | None = None
    typed: bool = True

"""Conform: whatever a source yields becomes typed Arrow rows of the landed table, or rows set aside with a reason.

    Conformer(table, known, source=, load_id=, run_id=).conform(page, load_timestamp) -> Conformed(rows, rejected)

Two inputs, one rule set: pages of dicts and Arrow tables. `values` and `times` hold the rules, value by value;
`vectors` and `vector_times` are fast paths over whole Arrow columns, which ask there whatever they are not sure of.
A row is loaded or set aside, never both, never neither; a row set aside is one quarantine row with its first fault.

Values (text is trimmed of spaces before it is read; empty text is NULL in every type but text)

    column     takes                                                         sets aside
    text       text in NFC, white space kept; int, Decimal, float, date as   NUL, lone surrogate, over 16 MB, bool,
               written; UTF-8 bytes                                          nested
    decimal    text (plain or exponent, ASCII), int, Decimal, exact; a       over 18 fraction digits (trailing zeros are
               float through its shortest text, cut at 18 places             fine), over 20 whole ones, 1,5, bool
    bigint     whole numbers of 64 bits, 5.0 and 5e2 too                     fractions, 2**63, bool
    double     the nearest double; an int only exactly                       what overflows, bool
    number     NaN and infinities in any of the three, as number or text: NULL, the row is loaded, and one quarantine
               row with the reason `not a number` keeps the text (Conformed.noted counts them)
    bool       true, false, 1, 0 (text in any case)                          everything else
    date       ISO text, date; an instant in the declared zone; without a    times of day without a declared zone
               zone declared only midnight (UTC, or none written)
    timestamp  ISO 8601 with offset or Z, T or space; finer than a           no zone written or declared; local times
               microsecond is cut towards the past; without a zone: the      that never were; 23:59:60, 24:00; years
               declared one (of two meanings the earlier); a number only     outside 1900..2200; epochs outside
               where an epoch is declared                                    1990..2100
    json       nested values as compact JSON, keys in order, decimals exact, NUL or lone surrogate anywhere inside, two
               nested NaN as text; text that is a JSON object or array as    keys that become one in NFC
               written, any other text as a JSON string

Columns

    name            declared: as declared; else NFC, camelCase parted, lower case, other characters `_`, 63 bytes
    reserved        undeclared load_timestamp, _load*, _run*, _kafka*, _dlt*, ctid and its like: `payload_` before it
    source          the payload's, if it is text and not empty, is the record source; an object goes to payload_source
    load_timestamp  the payload's only where the table declares the column; else, and for NULL, the engine's: of a page,
                    or of a row where rows come one by one
    collision       two fields of a row that become one column: the row is set aside; in Arrow every row
    undeclared      dict: text, bool, any number -> decimal, nested -> json, instant -> timestamp; Arrow: by its type
                    (ints bigint, floats double), a time without a zone its ISO text; created by its first loaded value
                    a JSON number of an undeclared column finer than 18 places is cut, not set aside
    too many        over 1,000 new columns in a package, or 1,500 in all: the rows that bring them are set aside
    vanished        NULL
    retyped         the landed type stays; fractions in Arrow floats widen an undeclared bigint to double, from that
                    page on (earlier files of the package hold bigint); a declaration against it is a UsageError
    contract        columns: evolve | freeze (SourceError) | discard_value (Conformer.discarded) | discard_row;
                    data_type: discard_row | freeze (SourceError); NaN and row faults never fail a package
    NULL            in the primary key, or where this source's declaration says nullable=False: set aside

`Conformer.columns` is the table's whole schema, the lineage last; every `rows` has exactly that schema at its time.
"""

from engine.conform.arrow_types import arrow_schema
from engine.conform.conformer import Conformed, Conformer

__all__ = ["Conformed", "Conformer", "arrow_schema"]

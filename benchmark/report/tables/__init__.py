"""The tables of a report: the table as a value, its formats, one file per table."""

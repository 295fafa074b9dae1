"""The tables of a report: the data class of a table, its output formats, and a file for each kind of table."""

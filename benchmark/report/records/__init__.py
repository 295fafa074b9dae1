"""Load records and group them into the cells of tables."""

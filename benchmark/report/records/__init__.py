"""Records read and grouped into the cells of tables."""

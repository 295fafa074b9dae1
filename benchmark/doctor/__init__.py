"""Checks of a machine: what it has, what is missing, and on a GPU whether everything that training uses works."""

"""Runs, recipes and suites as frozen values, and the origin of each value."""

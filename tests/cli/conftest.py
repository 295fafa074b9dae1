"""Shared by the tests of the command line."""

from small_sweeps import call, few_digits, forked, no_costs, quick_costs  # noqa: F401  fixtures

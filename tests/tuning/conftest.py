"""Shared by the tests of tuning."""

from small_sweeps import call, few_digits, no_costs  # noqa: F401  fixtures

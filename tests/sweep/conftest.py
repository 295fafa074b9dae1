"""Shared by the tests of sweeps."""

from small_sweeps import call, few_digits, forked, no_costs  # noqa: F401  fixtures

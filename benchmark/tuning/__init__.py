"""Tuning of the methods' knobs, with the same number of trials for each, on held-out training images."""

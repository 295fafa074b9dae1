"""Data sets: obtained, verified, decoded once, split, augmented."""

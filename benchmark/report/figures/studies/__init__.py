"""Figures of what `theory` and `tune` found."""

"""Executor `ray`: cohorts on the machines of a Ray cluster."""

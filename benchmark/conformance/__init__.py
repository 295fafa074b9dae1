"""Conformance of methods: checks of the contract, and a summary of what a method reads and adds."""

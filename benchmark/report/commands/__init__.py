"""Commands that read results: compare, explain, export, report --watch."""

"""How methods are measured: data, networks, training, records, report."""

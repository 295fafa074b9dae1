"""The papers' claims, tested numerically on features of trained networks."""

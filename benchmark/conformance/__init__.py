"""Whether a method keeps the contract, and what it reads and adds."""

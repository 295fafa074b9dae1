"""What training costs: time, memory, images per second, and what bounds them."""

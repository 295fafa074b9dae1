"""How a run trains: loop, lane, checkpoint, metrics, record."""

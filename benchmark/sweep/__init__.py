"""What is missing, in which order and on which executor it is trained."""

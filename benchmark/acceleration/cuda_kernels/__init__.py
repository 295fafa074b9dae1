"""Fused operators for CUDA: batch normalisation of students in Triton, convolutions of teachers in cuDNN."""

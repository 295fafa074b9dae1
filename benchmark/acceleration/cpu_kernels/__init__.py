"""Kernels for a CPU: C code of this project and the operators of oneDNN; eager where they do not serve."""

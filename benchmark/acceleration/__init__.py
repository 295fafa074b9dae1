"""What makes training fast: devices, precision, fused kernels, CUDA graphs.  No other room knows them."""

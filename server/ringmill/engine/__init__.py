"""A pipeline as machine code: state tables and fused kernels. It knows nothing of how a pipeline is written."""

"""Internal helpers of both packages: argument checks, short reprs, available memory, BLAS on one thread."""

"""What both packages need and no user sees: checks of arguments, short reprs, the memory there is, BLAS on one thread."""

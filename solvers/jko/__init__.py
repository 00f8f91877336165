"""Minimising movements (Jordan, Kinderlehrer, Otto): of particles, of densities on grids, of quantiles on the line."""

"""The kinetic equation of weights and fluctuations on a grid."""

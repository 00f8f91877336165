"""Minimising movements on the line, by quantiles."""

"""Minimising movements of particles."""

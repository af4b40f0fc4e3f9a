"""Boltzmann machines and what is built of them: densities by an energy."""

"""Blob's exact answer: the solver, the judge of trained models, the optimal player, and curves and maps from them."""

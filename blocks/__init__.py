"""The building blocks of networks: how a board is seen, dense layers, and the head that ends in Q-values."""

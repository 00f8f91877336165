"""The models of gradient descent, one equation in each file."""

"""The width study: does gradient descent of width N converge to the mean-field limit, how fast, in which distance?"""

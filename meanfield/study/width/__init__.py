"""The width study: does gradient descent of width N converge to the mean-field limit, how fast, in which distance?"""

from meanfield.study.storage.study_file import is_study, read_study

__all__ = ["is_study", "read_study"]

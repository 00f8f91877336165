"""Width studies: whether, how fast and in which distance gradient descent of width N converges to the mean-field limit."""

from meanfield.study.storage.study_file import is_study, read_study

__all__ = ["is_study", "read_study"]

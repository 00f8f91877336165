"""A PyTorch module with its data as an objective on one flat vector."""

from meanfield.torch_objective.objective import TorchObjective

__all__ = ["TorchObjective"]

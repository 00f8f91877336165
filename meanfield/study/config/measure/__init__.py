"""The table ``[measure]`` of a configuration: a Wasserstein gradient flow in place of a network on a task."""

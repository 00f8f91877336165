"""What came out of a run: its numbers, its distance to gradient descent, the distance of any two snapshots."""

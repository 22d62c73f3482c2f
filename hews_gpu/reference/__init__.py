"""The reference system's networks and protocol, reproduced with their leaks, and an ablation of those leaks."""

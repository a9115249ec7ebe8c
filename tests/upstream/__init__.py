"""The parts of the way to the backends, by themselves."""

"""What outlives a request. Engines keep bytes; ``values`` seals them; ``sessions`` knows what they mean."""

"""What outlives a request. Engines keep bytes; ``sessions`` knows what they mean; ``sealing`` makes them unreadable."""

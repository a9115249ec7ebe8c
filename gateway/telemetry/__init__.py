"""What the operator sees: one log line per request, and the events around it."""

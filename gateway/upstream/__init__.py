"""The way to the backends. Only this part opens connections to them."""

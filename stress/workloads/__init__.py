"""Programs that drive the model, one family a module."""

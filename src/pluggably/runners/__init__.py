"""Local backends: how a model is started on this machine, watched, leased and stopped."""

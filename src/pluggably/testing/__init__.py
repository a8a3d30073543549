"""For the authors of plugins: the suites that every codec, framer and runner of the house passes too."""

"""Our HTTP: paths, credentials, bodies, answers, streams. The only room that knows the web framework."""

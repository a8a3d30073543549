"""Remote backends: where a provider is, its credential, and the vendors that need no code of their own."""

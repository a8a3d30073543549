"""One file a wire. Each is registered as an entry point of the group `pluggably.codecs`, as a stranger's would be."""

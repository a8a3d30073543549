"""What things are: the nouns of the house as msgspec structs. No I/O, and nothing of the house but `errors`."""

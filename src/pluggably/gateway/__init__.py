"""The decisions: what a model name means, which target serves it, what a generation cost. No bytes, no vendors."""

"""This house's own wire: another gateway as a provider."""

"""What operators see: metric names and log fields, each declared once."""

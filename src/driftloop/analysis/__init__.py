"""What is estimated from readings: tidy tables, one estimate a row with its interval. Nothing here reads or writes a file."""

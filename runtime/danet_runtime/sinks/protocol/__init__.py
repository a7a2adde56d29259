"""What every sink offers, and what all of them share."""

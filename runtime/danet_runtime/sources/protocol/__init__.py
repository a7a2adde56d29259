"""What every source offers, and the terms it speaks in: addresses, stamps, damage, frames on a pipe."""

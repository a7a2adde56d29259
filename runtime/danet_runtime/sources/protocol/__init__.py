"""The protocol of a source, and its terms: addresses, stamps, damage, frames on a pipe."""

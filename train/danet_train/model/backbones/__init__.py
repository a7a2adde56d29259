"""The networks under the head, each stated by a class of its own and listed in one registry."""

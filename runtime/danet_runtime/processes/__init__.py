"""Child processes that end with their parent, and clocks that know when all stood still."""

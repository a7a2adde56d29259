"""Reading files of weights without running what is in them."""

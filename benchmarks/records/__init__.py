"""Tables and pictures of the records that danet's own commands wrote."""

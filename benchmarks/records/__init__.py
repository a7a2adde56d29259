"""What danet's own commands wrote, shown as a table or a picture."""

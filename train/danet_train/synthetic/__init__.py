"""Street scenes made by the project itself, with exact labels, in the layout of Cityscapes."""

"""What drawn scenes are made of: textures, light, class ids."""

"""The parts of drawn scenes: textures, light, class ids."""

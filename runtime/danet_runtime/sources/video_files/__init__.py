"""Reading video files: containers, decoders, and OpenCV where there is no PyAV."""

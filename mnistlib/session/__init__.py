"""Reports of a training session, and TensorFlow's record files: see README.md in this folder."""

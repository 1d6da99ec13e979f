"""The live LeNet-5: one network in JavaScript for the website, for a file of its own, and for notebooks."""

"""Drawings of networks, figures that compare several, and the pictures of the README: see README.md in this folder."""

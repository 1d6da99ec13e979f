"""What everything else stands on: files that are never half written, and checked arguments. See README.md."""

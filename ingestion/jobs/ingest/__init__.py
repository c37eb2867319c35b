"""What comes in: scans of the scanner, vendors' bars, and what is missing of them."""

"""The explorer: networks, photographs, digits and runs on one local page."""

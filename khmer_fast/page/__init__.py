"""From a grey page to its lines in reading order."""

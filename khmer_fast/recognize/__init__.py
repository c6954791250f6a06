"""Lines: line image > batch > encoder > decoder > tokens > text."""

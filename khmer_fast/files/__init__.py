"""Files in: bytes or paths to grey pages."""

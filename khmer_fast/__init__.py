"""Khmer OCR: a line image in, Khmer Unicode text out."""

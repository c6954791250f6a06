"""Scores: labels and predictions to error rates, diagnoses and reports."""

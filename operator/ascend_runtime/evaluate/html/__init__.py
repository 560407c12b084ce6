"""The report for people: one HTML file for each language, with tables and plots in it and nothing outside."""

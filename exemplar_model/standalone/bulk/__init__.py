"""Painting the rows of a table, on one machine or many; nothing is imported until it runs.

A table is cut into chunks of rows (`table`), Ray Data hands them to workers (`workers`), and each
paints its chunk in batches of equal shape (`worker`, `painter`). A picture carries the record of
how it was painted (`pictures`), so that a lost process costs what it had in its hands, and no more.
"""

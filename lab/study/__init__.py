"""A measured study on held-out pictures: seams, colours and poor exemplars."""

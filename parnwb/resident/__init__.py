"""Data that ranks hold already: what a rank has, who has what, and how chunk owners collect the pieces."""

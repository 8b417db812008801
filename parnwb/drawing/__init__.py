"""Pictures as HTML, SVG and CSS: of values, not of parnwb's objects, so that any layer can be drawn."""

"""What: the catalogue, the organisations and the component inventory."""

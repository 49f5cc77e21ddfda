"""Where: administrative areas, the ground, and the 10 000 m² unit grid."""

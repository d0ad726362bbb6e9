"""What training scripts import: ``import flor``."""

"""Leaf helpers without models; nothing here imports one of the apps."""

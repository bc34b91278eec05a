"""Fill an installation with made-up traffic (`manage.py seed_demo`), to try the console and to measure it."""

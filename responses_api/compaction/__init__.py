"""Replace conversations by a summary, which travels through the client as a sealed item.

A native upstream compacts by itself. For the others the model is asked for a summary (`request`), its answer
becomes one item (`adapter`, `answer`), and the item is opened again when it comes back (`sealed`).
"""

"""The Feast repository: what is declared, stored and served.

Start with :mod:`feature_repo.catalog`, the one place where a feature is declared; ``definitions``
turns it into Feast objects. Importing this package does not import Feast.
"""

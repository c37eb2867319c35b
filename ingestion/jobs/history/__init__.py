"""The history of ratings: bars fetched, features computed, and a page about them, in one command.

``rating_history``  what the command does, and what it returns
``asking``          which source is asked for which symbols, and what came of it
``ratings``         classes of ratings, how long each lasted, and what followed
``history_page``    the page
"""

"""What every room uses: errors, now, the settings, and files that other processes replace.

``errors``       the error tree
``settings``     the configuration; ``clock`` what "now" is
``redaction``    secrets are taken out of what is printed or written
``loading``      runs a project's Python files by their path
``reading``      files and folders that other processes replace meanwhile
``locks``        locks of folders
``spill``        rows that do not fit in memory; ``memory`` for many arrays of some megabytes
``wording``      the first few of many things, in messages
``store_files``  where Feast's two files are
"""

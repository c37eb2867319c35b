"""How well features rank what follows: ``tvfeast factor-report``.

``joined_rows``    features as known at each decision, beside forward returns; date after date
``figures``        from what the dates gave to the figures of a report
``tries``          how many features were tried on this lakehouse
``factor_report``  the job; start reading there
``factor_page``    its page
``commands``       the command that gives its figures again
"""

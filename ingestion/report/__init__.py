"""The report: plain figures in, one HTML page out, which needs nothing but a browser.

The room knows neither the lakehouse nor the jobs: whoever has figures gives them as a
:class:`~ingestion.report.contents.Report`, and :func:`~ingestion.report.page.page` writes it down.

``contents`` what a page consists of: the verdict, sections, tables, plots, the catalogue
``formats``  numbers, shares, ages, sizes and instants, each written in one way
``page``     from these to HTML
``assets``   the page's style and script, and the two libraries that draw its plots
"""

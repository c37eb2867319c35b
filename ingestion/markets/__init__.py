"""Markets: symbols, the hours that their exchanges keep, and when a bar closes.

``symbols`` ``candidates``  unified symbols, and the file that lists them
``exchanges`` ``calendars`` what is known of each exchange, and its calendar
``hours``                   which hours a symbol keeps, and when its bar closes
``sessions``                the sessions of an exchange, and which of them a bar is of
``feeds``                   how long after a close a snapshot is final
"""

"""Markets: symbols, the hours that their exchanges keep, and when a bar closes.

``symbols`` ``candidates``  unified symbols, and the file that lists them
``exchanges``               what is known of each exchange
``calendars`` ``hours``     its sessions
``closes`` ``sessions``     when a bar closes, and which session follows
``placing``                 which session a bar is of
``feeds``                   how long after a close a snapshot is final
"""

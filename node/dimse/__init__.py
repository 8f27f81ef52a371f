"""The only home of pynetdicom: the socket, what it accepts, and how we send."""

"""Where clients come in: sockets, TLS with certificates that may change, http sent to https, and how many may come."""

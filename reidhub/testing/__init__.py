"""A loopback internet: hosts that speak Mega's and Google Drive's protocols over real TLS, for tests and the demo."""

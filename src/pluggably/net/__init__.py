"""The ground floor of outgoing HTTP: the only importer of the HTTP client library."""

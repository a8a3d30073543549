"""The ground floor of outgoing HTTP: our own client (`http`), and what it is made of."""

"""The command `hews prepare`: clean every partition, mark duplicates, sort by time."""

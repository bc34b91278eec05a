"""The spool and its readers: damage, bad records, failing disks, reading again."""

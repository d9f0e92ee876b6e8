"""The sections of a report, a file each: `section(material)` gives what is to be told, or None where there is nothing."""

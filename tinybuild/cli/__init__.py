"""What people type and read: the commands of doit, their messages and the table at the end."""

"""What a fit costs in tasks and passes, whatever the machine."""

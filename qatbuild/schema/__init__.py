"""What the user wrote: JSON files read into typed values, or refused with all their faults at once."""

"""What stages made, kept by what decides it: made once, and taken by whoever asks the same."""

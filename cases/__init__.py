"""What happened, who must act, by when."""

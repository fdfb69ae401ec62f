"""The directory that a download goes to, and what is recorded there."""

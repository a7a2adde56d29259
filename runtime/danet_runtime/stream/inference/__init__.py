"""The thread that infers, with copies and inference overlapped where the backend can."""

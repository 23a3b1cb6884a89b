"""One folder is one axis of ablation; one file is one alternative; the file name is its key."""

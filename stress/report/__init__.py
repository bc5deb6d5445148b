"""What a person looks at: an execution as a page, and as a trace for Perfetto."""

"""State, schedules, optimisers and the step; pure, no files."""

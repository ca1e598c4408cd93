"""Radio Galaxy Zoo: sources of FIRST, by their components and peaks."""

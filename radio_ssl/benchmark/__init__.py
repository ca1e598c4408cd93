"""The matrix of runs: methods, encoders, images, labelled sets, protocols."""

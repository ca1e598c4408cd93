"""One unlabelled data set of several that were built before."""

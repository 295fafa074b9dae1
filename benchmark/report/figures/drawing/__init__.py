"""What figures share: colours, labels at marks, names of marks for the page, and the cache of drawn figures."""

"""Statistics for few seeds.  Values in the unit of the input: accuracies as fractions; distributions are scipy's."""

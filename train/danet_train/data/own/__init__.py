"""A data set of one's own: pictures and masks as they come become a plain folder that training reads."""

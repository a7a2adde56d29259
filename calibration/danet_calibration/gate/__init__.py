"""Whether INT8 may be used: evidence, rules, verdict, and which layers go back."""

"""The accuracy gate of INT8: rules, evidence, verdict, and the mixed-precision search."""

//! The rule of masking, by cases and by what must hold of every secret.

//! inscon-eval

//! inscon-aug

//! inscon-model

//! inscon-loss

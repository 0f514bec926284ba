//! inscon-train

//! The Kahuna node as a library.

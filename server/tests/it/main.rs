//! The finished program from outside, in one test binary.

mod command_line;

//! The whosthere server: sockets, HTTP API, configuration, command line.

//! How clients speak: the MQTT session state machine, without I/O.

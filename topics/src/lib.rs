//! Topic names and filters of MQTT: parse, match, overlap, and a trie of filters.

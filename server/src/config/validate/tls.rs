//! Rules on TLS: a door that speaks it needs a certificate, and asking clients for theirs needs
//! authorities.

use std::path::Path;

use super::Problem;
use crate::config::{ClientCertificates, Config};

pub(super) fn check(config: &Config) -> Vec<Problem> {
    let tls = &config.tls;
    let mut problems = Vec::new();
    if let Some(door) = config.listen.open_tls().next() {
        for (key, path) in [("certificate", &tls.certificate), ("key", &tls.key)] {
            if is_empty(path) {
                let why = format!("is empty; `listen.{door}` needs the path of a PEM file");
                problems.push(Problem::new(format!("tls.{key}"), why));
            }
        }
    }
    let asks = tls.client_certificates != ClientCertificates::Off;
    if asks && is_empty(&tls.client_ca) {
        problems.push(Problem::new(
            "tls.client_ca",
            "is empty; `tls.client_certificates` needs the authorities that sign them, a PEM file",
        ));
    }
    problems
}

fn is_empty(path: &Path) -> bool {
    path.as_os_str().is_empty()
}
